package eventstore

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"annals/domain"
)

// A sealed text takes the place of the text itself: a JSON string as that is one, so that sealed events, states and rows
// have the shape of open ones, and a program that knows nothing of keys still reads them.
//
//	annals:sealed:1:<base64url of: key id 16, event id 16, nonce 12, AES-256-GCM ciphertext, tag 16>
//
// Key, event and client are authenticated, so that it opens under no other key or client, and shows it if it was moved to
// another event. The text is padded, so that its length tells little.
const sealedPrefix = "annals:sealed:1:"

const (
	sealedHeader  = 16 + 16
	sealedLeast   = sealedHeader + 12 + sealedPadding + 16
	sealedPadding = 16 // bytes that the text is padded to a multiple of
)

// sealedText is a sealed text in its parts.
type sealedText struct {
	key, event domain.ID
	box        []byte // nonce, ciphertext and tag
}

var errTampered = errors.New("the sealed text doesn't open")

// parseSealed reads a sealed text; ok is false for any other.
func parseSealed(text string) (s sealedText, ok bool) {
	encoded, ok := strings.CutPrefix(text, sealedPrefix)
	if !ok {
		return s, false
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil || len(raw) < sealedLeast {
		return s, false
	}
	copy(s.key[:], raw)
	copy(s.event[:], raw[16:])
	s.box = raw[sealedHeader:]
	return s, true
}

// sealer seals the texts of one event.
type sealer struct {
	aead   cipher.AEAD
	header []byte // key and event
	bound  []byte // what is authenticated beside the text
}

func newSealer(key SubjectKey, event domain.ID) (*sealer, error) {
	block, err := aes.NewCipher(key.Secret)
	if err != nil {
		return nil, fmt.Errorf("seal personal text: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("seal personal text: %w", err)
	}
	header := append(append(make([]byte, 0, sealedHeader), key.ID[:]...), event[:]...)
	return &sealer{aead: aead, header: header, bound: append([]byte(sealedPrefix+key.Client), header...)}, nil
}

func (s *sealer) seal(text domain.Personal) domain.Personal {
	padded := append([]byte(text), 0x80)
	for len(padded)%sealedPadding != 0 {
		padded = append(padded, 0)
	}
	box := s.aead.Seal(bytes.Clone(s.header), nil, padded, s.bound)
	return sealedPrefix + domain.Personal(base64.RawURLEncoding.EncodeToString(box))
}

func (s sealedText) open(key SubjectKey) (domain.Personal, error) {
	opener, err := newSealer(key, s.event)
	if err != nil {
		return "", err
	}
	padded, err := opener.aead.Open(nil, nil, s.box, opener.bound)
	if err != nil {
		return "", errTampered
	}
	end := bytes.LastIndexByte(padded, 0x80)
	if end < 0 {
		return "", errTampered
	}
	return domain.Personal(padded[:end]), nil
}

// carriesText reports whether an event has personal text, and so must be sealed.
func carriesText(d domain.EventDefinition, e domain.Event) (carries bool) {
	if d.Personal() != nil {
		d.Personal().Each(e, func(domain.Personal) { carries = true })
	}
	return carries
}

// seal gives an event with its personal text sealed. Keys are fetched once for each subject of a command.
func (v *Vault) seal(
	ctx context.Context, client string, d domain.EventDefinition, e domain.Event, stream, id domain.ID,
	fetched map[domain.Subject]SubjectKey,
) (domain.Event, error) {
	if v == nil {
		return nil, fmt.Errorf("%w: event %s", ErrNoSubjectKeys, d.Type)
	}
	subject := d.Subject(e, stream)
	if subject.Kind == "" || subject.Reference == "" {
		return nil, fmt.Errorf("event %s carries personal text and doesn't say whom it is about", d.Type)
	}
	key, ok := fetched[subject]
	if !ok {
		var err error
		if key, err = v.keys.Current(ctx, client, subject); err != nil {
			return nil, fmt.Errorf("key of a subject: %w", err)
		}
		fetched[subject] = key
	}
	s, err := newSealer(key, id)
	if err != nil {
		return nil, err
	}
	return d.Personal().Map(e, s.seal).(domain.Event), nil
}

// eachSealed finds the JSON strings in an event's data that are sealed texts. start and end enclose the quotes.
func eachSealed(data []byte, each func(start, end int, s sealedText)) {
	const begin = `"` + sealedPrefix
	for at := 0; ; {
		i := bytes.Index(data[at:], []byte(begin))
		if i < 0 {
			return
		}
		start := at + i
		length := bytes.IndexByte(data[start+1:], '"')
		if length < 0 {
			return
		}
		end := start + 1 + length + 1
		if s, ok := parseSealed(string(data[start+1 : end-1])); ok && (start == 0 || data[start-1] != '\\') {
			each(start, end, s)
			at = end
			continue
		}
		at = start + len(begin)
	}
}

// openData gives an event's data with its sealed texts replaced.
func openData(data []byte, open func(sealedText) domain.Personal) []byte {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	from := 0
	eachSealed(data, func(start, end int, s sealedText) {
		out.Write(data[from:start])
		_ = encoder.Encode(string(open(s))) // of a string, into memory: can't fail
		out.Truncate(out.Len() - 1)         // the encoder's line end
		from = end
	})
	if from == 0 {
		return data
	}
	out.Write(data[from:])
	return out.Bytes()
}

// SealedWith gives the ids of the subject keys that recorded data needs to be read, each once, in the order of the data.
// The ids are part of the recorded bytes: they are known also after the keys were destroyed.
//
// For tools that verify exports: a payload is always recomputed from its recorded bytes, sealed text included. A payload
// that an export leaves out is accepted only when each of the keys it was sealed with is named by a subject.erased event.
func SealedWith(data []byte) []domain.ID {
	var ids []domain.ID
	seen := make(map[domain.ID]bool)
	eachSealed(data, func(_, _ int, s sealedText) {
		if !seen[s.key] {
			seen[s.key] = true
			ids = append(ids, s.key)
		}
	})
	return ids
}
