package integrity

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Checkpoint is what a signature covers: the log, its size and its root.
type Checkpoint struct {
	Origin string
	Size   int64
	Root   Hash
}

// ErrCheckpoint says that bytes aren't a checkpoint, or not one of this log, or not signed by a known key.
var ErrCheckpoint = errors.New("not a valid checkpoint")

// Text is the text that is signed: C2SP tlog-checkpoint without extension lines.
func (c Checkpoint) Text() string {
	return c.Origin + "\n" + strconv.FormatInt(c.Size, 10) + "\n" + base64.StdEncoding.EncodeToString(c.Root[:]) + "\n"
}

// Sign gives the signed note. Each signer's name must be the origin.
func (c Checkpoint) Sign(signers ...note.Signer) ([]byte, error) {
	for _, s := range signers {
		if s.Name() != c.Origin {
			return nil, fmt.Errorf("sign a checkpoint of %s: the key is %s's", c.Origin, s.Name())
		}
	}
	return note.Sign(&note.Note{Text: c.Text()}, signers...)
}

// Verifiers makes the known keys of verifier keys in their text form, as the log publishes them.
func Verifiers(verifierKeys ...string) (note.Verifiers, error) {
	list := make([]note.Verifier, 0, len(verifierKeys))
	for _, text := range verifierKeys {
		v, err := note.NewVerifier(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("verifier key %q: %w", text, err)
		}
		list = append(list, v)
	}
	return note.VerifierList(list...), nil
}

// ParseCheckpoint reads a signed note and checks its signatures: at least one must be by a known key whose name is the
// checkpoint's origin, and none by a known key may be wrong. The note tells by which keys it was signed. It fails with
// ErrCheckpoint. Extension lines are allowed and ignored.
func ParseCheckpoint(signed []byte, known note.Verifiers) (Checkpoint, *note.Note, error) {
	n, err := note.Open(signed, known)
	if err != nil {
		return Checkpoint{}, nil, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	c, err := parseText(n.Text)
	if err != nil {
		return Checkpoint{}, nil, err
	}
	for _, s := range n.Sigs {
		if s.Name == c.Origin {
			return c, n, nil
		}
	}
	return Checkpoint{}, nil, fmt.Errorf("%w: no known key of %s has signed it", ErrCheckpoint, c.Origin)
}

// parseText reads the text of a checkpoint.
func parseText(text string) (Checkpoint, error) {
	lines := strings.SplitN(text, "\n", 4)
	if len(lines) < 4 || lines[0] == "" {
		return Checkpoint{}, fmt.Errorf("%w: it needs an origin, a size and a root", ErrCheckpoint)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != lines[1] {
		return Checkpoint{}, fmt.Errorf("%w: %.30q is not a size", ErrCheckpoint, lines[1])
	}
	root, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return Checkpoint{}, fmt.Errorf("%w: %.60q is not a root", ErrCheckpoint, lines[2])
	}
	return Checkpoint{Origin: lines[0], Size: size, Root: Hash(root)}, nil
}

// ErrProof says that a proof doesn't prove what it is said to.
var ErrProof = errors.New("the proof is wrong")

// VerifyInclusion checks that a leaf is at a position of the log that a checkpoint is of. It fails with ErrProof.
func VerifyInclusion(c Checkpoint, position int64, leaf Hash, proof []Hash) error {
	if position < 1 || position > c.Size {
		return fmt.Errorf("%w: position %d isn't among the first %d", ErrProof, position, c.Size)
	}
	if err := tlog.CheckRecord(proof, c.Size, c.Root, position-1, leaf); err != nil {
		return fmt.Errorf("%w: position %d isn't in the tree of size %d: %w", ErrProof, position, c.Size, err)
	}
	return nil
}

// VerifyConsistency checks that the log of a later checkpoint begins with all of that of an earlier one. It fails with
// ErrProof.
func VerifyConsistency(earlier, later Checkpoint, proof []Hash) error {
	switch {
	case earlier.Size > later.Size:
		return fmt.Errorf("%w: the log shrank from %d to %d", ErrProof, earlier.Size, later.Size)
	case earlier.Size == 0 && len(proof) == 0:
		return nil
	case earlier.Size == later.Size && earlier.Root != later.Root:
		return fmt.Errorf("%w: two trees of size %d have different roots", ErrProof, earlier.Size)
	}
	if err := tlog.CheckTree(proof, later.Size, later.Root, earlier.Size, earlier.Root); err != nil {
		return fmt.Errorf("%w: the tree of size %d doesn't continue that of size %d: %w", ErrProof, later.Size, earlier.Size, err)
	}
	return nil
}
