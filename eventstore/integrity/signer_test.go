package integrity_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"annals/eventstore/integrity"
)

// What was changed after it was signed isn't signed again.
func TestForksAreNotSigned(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change string
		want   error
	}{
		"another past": {`DELETE FROM annals.integrity_tiles; UPDATE annals.integrity_log SET size = 0, root = sha256(''), open_leaves = '', open_nodes = ''`,
			integrity.ErrForked},
		"another root signed": {`UPDATE annals.integrity_checkpoints SET root = sha256('x')`, integrity.ErrForked},
		"another note":        {`UPDATE annals.integrity_checkpoints SET note = replace(note, '300', '299')`, integrity.ErrForked},
		"no note":             {`DELETE FROM annals.integrity_checkpoints; DELETE FROM annals.integrity_tiles; UPDATE annals.integrity_log SET size = 0, root = sha256(''), open_leaves = '', open_nodes = ''`, integrity.ErrForked},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.seal(300)
			k := b.ensured(b.locked)
			s := signer(k)
			if signed, err := s.Sign(context.Background()); !signed || err != nil {
				t.Fatal(signed, err)
			}
			b.tamper(c.change)
			b.seal(299)
			tampered := recordsFrom(299, 310) // with another event at 300
			tampered[0].ActorID = "somebody else"
			size, err := b.log.Size(context.Background())
			check(t, err)
			tx, err := b.db.BeginTx(context.Background(), nil)
			check(t, err)
			defer tx.Rollback()
			check(t, integrity.Seal(context.Background(), tx, tampered[size-299:]))
			check(t, tx.Commit())
			if signed, err := s.Sign(context.Background()); signed || !errors.Is(err, c.want) {
				t.Errorf("signed %v: %v", signed, err)
			}
			if _, err := k.Rotate(context.Background(), integrity.RotateOptions{Reason: "x"}); name != "no note" && !errors.Is(err, c.want) {
				t.Errorf("signed over: %v", err)
			}
		})
	}
}

// A shorter tree than what was signed is noticed before anything is added.
func TestLostTailIsNotSigned(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.seal(300)
	s := signer(b.ensured(b.locked))
	if signed, err := s.Sign(context.Background()); !signed || err != nil {
		t.Fatal(signed, err)
	}
	b.tamper(`DELETE FROM annals.integrity_tiles; UPDATE annals.integrity_log SET size = 0, root = sha256(''), open_leaves = '', open_nodes = ''`)
	b.seal(299)
	if signed, err := s.Sign(context.Background()); signed || !errors.Is(err, integrity.ErrForked) {
		t.Errorf("signed %v: %v", signed, err)
	}
}

func TestCheckpointsAreBounded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	k := b.ensured(b.locked)
	ctx := context.Background()
	if _, err := b.log.Latest(ctx); !errors.Is(err, integrity.ErrNoCheckpoint) {
		t.Errorf("before the first: %v", err)
	}
	for size := int64(1); size <= 30; size++ {
		b.seal(size)
		b.sign(k)
		if size == 10 { // another minute
			b.exec(`UPDATE annals.integrity_checkpoints SET signed_at = signed_at - interval '1 minute'`)
		}
		if size == 20 {
			_, err := k.Rotate(ctx, integrity.RotateOptions{Reason: "x"})
			check(t, err)
		}
	}
	list, err := b.log.Checkpoints(ctx, 0, 100)
	check(t, err)
	kept := map[int64]bool{}
	for _, c := range list {
		kept[c.Size] = true
	}
	// A minute may end during the test.
	if !kept[10] || !kept[20] || !kept[30] || len(kept) > 8 {
		t.Errorf("kept %v", kept)
	}
	if c, err := b.log.CheckpointAt(ctx, 20); err != nil || c.Size != 20 {
		t.Errorf("%+v: %v", c, err)
	}
	// Nothing new: nothing is signed.
	if signed, err := signer(k).Sign(ctx); signed || err != nil {
		t.Errorf("signed %v: %v", signed, err)
	}
	// Too soon: nothing is signed either.
	b.seal(31)
	if signed, err := integrity.NewSigner(k, time.Hour, slog.New(slog.DiscardHandler)).Sign(ctx); signed || err != nil {
		t.Errorf("signed %v: %v", signed, err)
	}
}

func TestSignersRunSideBySide(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{}, 2)
	for range 2 {
		s := integrity.NewSigner(b.ensured(b.locked), time.Millisecond, slog.New(slog.DiscardHandler))
		go func() { s.Run(ctx); done <- struct{}{} }()
	}
	for size := int64(1); size <= 40; size++ {
		b.seal(size)
	}
	for deadline := time.Now().Add(time.Minute); ; {
		if c, err := b.log.Latest(context.Background()); err == nil && c.Size == 40 {
			b.verifies(c, b.list()[0].VerifierKey)
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("nothing was signed")
		}
	}
	stop()
	<-done
	<-done
}
