package rest

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

func roomIn(b *bodies, vouched bool) *room {
	return &room{bodies: b, vouched: func() bool { return vouched }}
}

func TestLargeBodiesShareABound(t *testing.T) {
	t.Parallel()
	var b bodies
	var rooms []*room
	fill := func(upTo int64) {
		t.Helper()
		for b.reserved.Load() < upTo {
			full := roomIn(&b, true)
			if err := errors.Join(full.grow(2*smallBody), full.grow(maxBody)); err != nil || full.size != maxBody {
				t.Fatalf("a body got room for %d bytes: %v", full.size, err)
			}
			rooms = append(rooms, full)
		}
	}
	large := int64(2 * smallBody)
	fill(maxBodies / 2)
	if err := roomIn(&b, false).grow(large); err == nil {
		t.Error("a body without a credential got room of the second half")
	}
	fill(maxBodies)
	if err := roomIn(&b, true).grow(large); err == nil {
		t.Error("there is room for one more large body")
	}
	if b.reserved.Load() != maxBodies {
		t.Errorf("%d bytes are taken after refusals", b.reserved.Load())
	}
	for _, length := range []int64{-1, 0, smallBody, maxBody + 1} {
		if err := b.admits(length); err != nil {
			t.Errorf("a body of %d bytes: %v", length, err)
		}
	}
	if b.admits(smallBody+1) == nil {
		t.Error("a body that there is no room for is read")
	}
	if err := roomIn(&b, false).grow(smallBody); err != nil {
		t.Errorf("a small body: %v", err)
	}
	rooms[0].release()
	if err := errors.Join(b.admits(maxBody), roomIn(&b, true).grow(large)); err != nil {
		t.Errorf("after a body has gone: %v", err)
	}
	for _, m := range rooms {
		m.release()
	}
	if left := b.reserved.Load(); left != large {
		t.Errorf("%d bytes are left, want %d", left, large)
	}
}

func TestBodyTakesRoomAsItComes(t *testing.T) {
	t.Parallel()
	whole := bytes.Repeat([]byte("0123456789abcdef"), maxBody/16)
	broken := errors.New("broken")
	for _, size := range []int64{0, 1, unknownBody, smallBody - 1, smallBody, smallBody + 1, 100 << 10, 4 * smallBody, maxBody - 1, maxBody} {
		for _, known := range []bool{true, false} {
			length, most := int64(-1), 2*max(size, smallBody)
			if known {
				length, most = size, size
			}
			var b bodies
			m := roomIn(&b, true)
			got, err := m.readAll(iotest.DataErrReader(bytes.NewReader(whole[:size])), length)
			if err != nil || !bytes.Equal(got, whole[:size]) || m.size > most || (m.size == 0) != (cap(got) <= smallBody) {
				t.Errorf("%d bytes, known %t: %d bytes in room for %d: %v", size, known, len(got), m.size, err)
			}
			m = roomIn(&b, true)
			_, err = m.readAll(io.MultiReader(bytes.NewReader(whole[:size/2]), iotest.ErrReader(broken)), length)
			if size > 0 && (!errors.Is(err, broken) || m.size > max(size, smallBody)) {
				t.Errorf("half of %d bytes, known %t: room for %d: %v", size, known, m.size, err)
			}
		}
	}
	if _, err := roomIn(new(bodies), true).readAll(bytes.NewReader(whole[:5]), 6); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a body that is shorter than it says: %v", err)
	}
	var full bodies
	full.reserved.Store(maxBodies)
	for _, length := range []int64{-1, maxBody} {
		if _, err := roomIn(&full, true).readAll(bytes.NewReader(whole), length); !isOverloaded(err) {
			t.Errorf("a body that finds no room: %v", err)
		}
	}
}

func isOverloaded(err error) bool {
	p, ok := errors.AsType[*Problem](err)
	return ok && p.Status == 503 && p.shed
}
