package rest

import (
	"errors"
	"io"
	"sync/atomic"
)

// Bodies up to smallBody cost no more than the connection they come on. Larger ones share maxBodies bytes. What a body says
// of its length takes none of them: whoever announced large bodies and then sent nothing would shut out everybody else's.
const (
	smallBody   = 64 << 10
	maxBodies   = 128 << 20
	unknownBody = 512 // what a body of unknown length begins with
)

// bodies bounds the memory of the bodies of all requests under way.
type bodies struct{ reserved atomic.Int64 }

// admits refuses a body that there is no room for before any of it is read. It takes no room.
func (b *bodies) admits(length int64) error {
	if length <= smallBody || length > maxBody || b.reserved.Load()+length <= maxBodies { // more than maxBody isn't read at all
		return nil
	}
	return tooManyBodies()
}

func tooManyBodies() *Problem {
	p := newProblem("overloaded", "too many large bodies are being read; nothing was done")
	p.retryAfter, p.shed = retryLater, true
	return p
}

// room is what the body of one request has of the bytes that bodies share.
type room struct {
	bodies  *bodies
	size    int64
	vouched func() bool // whether the request has a credential for what it asks
}

// grow makes room for so many bytes in all. The second half of what there is to share is for those with a credential.
func (m *room) grow(size int64) error {
	if size <= smallBody {
		return nil
	}
	more := size - m.size
	if total := m.bodies.reserved.Add(more); total > maxBodies || total > maxBodies/2 && !m.vouched() {
		m.bodies.reserved.Add(-more)
		return tooManyBodies()
	}
	m.size = size
	return nil
}

// release gives back what the body has. It isn't needed any more.
func (m *room) release() {
	m.bodies.reserved.Add(-m.size)
	m.size = 0
}

// readAll reads a body to its end, into a buffer that doubles as it fills. The length is unknown when it isn't positive; r
// ends such a body that has more than maxBody.
func (m *room) readAll(r io.Reader, length int64) ([]byte, error) {
	known, end := length > 0, length
	size := min(length, smallBody)
	if !known {
		size, end = unknownBody, maxBody+1
	}
	data := make([]byte, 0, size)
	for int64(len(data)) < end {
		if len(data) == cap(data) {
			size = min(2*size, end)
			if err := m.grow(size); err != nil {
				return nil, err
			}
			data = append(make([]byte, 0, size), data...)
		}
		n, err := r.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		switch {
		case errors.Is(err, io.EOF) && (!known || int64(len(data)) == end):
			return data, nil
		case errors.Is(err, io.EOF):
			return nil, io.ErrUnexpectedEOF
		case err != nil:
			return nil, err
		}
	}
	return data, nil
}
