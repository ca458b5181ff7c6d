package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"annals/eventstore/integrity"
)

// Integrity reads the Merkle tree over the log, what was signed of it, and the keys.
type Integrity interface {
	// Origin names the log in checkpoints.
	Origin(ctx context.Context) (string, error)
	// Keys lists the keys that sign or have signed checkpoints.
	Keys(ctx context.Context) ([]integrity.Key, error)
	// Latest is the newest signed checkpoint, or integrity.ErrNoCheckpoint.
	Latest(ctx context.Context) (integrity.SignedCheckpoint, error)
	// CheckpointAt is the signed checkpoint of a size, or integrity.ErrNoCheckpoint.
	CheckpointAt(ctx context.Context, size int64) (integrity.SignedCheckpoint, error)
	// Tile gives the first width hashes of a tile, or integrity.ErrNotSealed.
	Tile(ctx context.Context, level int, index int64, width int) ([]byte, error)
	// Inclusion proves a position in the tree of a size.
	Inclusion(ctx context.Context, position, size int64) (integrity.Inclusion, error)
	// Consistency proves that the tree of a size continues that of an earlier one.
	Consistency(ctx context.Context, from, to int64) (integrity.Consistency, error)
}

// Records reads events with what their leaves commit to.
type Records interface {
	// Record gives one event of a client, or a not-found refusal.
	Record(ctx context.Context, client string, position int64) (integrity.Record, error)
}

func (s *server) integrityEndpoints() []*endpoint {
	get := func(path, name, media string, prepare prepare) *endpoint {
		return &endpoint{method: http.MethodGet, path: "/v1/integrity/" + path, name: name, may: mayAudit,
			produces: []string{media}, prepare: prepare}
	}
	tile := get("tile/{level}/{tile}", "getTile", mediaBytes, s.getTile)
	tile.spans = true
	inclusion := get("inclusion", "getInclusionProof", mediaJSON, s.getInclusion)
	inclusion.recorded = true
	return []*endpoint{
		get("checkpoint", "getCheckpoint", mediaText, s.getCheckpoint),
		inclusion,
		get("consistency", "getConsistencyProof", mediaJSON, s.getConsistency),
		tile,
		get("keys", "listSigningKeys", mediaJSON, s.listSigningKeys),
	}
}

// getCheckpoint serves the newest signed checkpoint.
func (s *server) getCheckpoint(r *request) (answer, error) {
	return func(w http.ResponseWriter) error {
		c, err := s.signed(r, r.minPosition)
		if err != nil {
			return err
		}
		w.Header().Set(headerPosition, strconv.FormatInt(c.Size, 10))
		writeBody(w, r, http.StatusOK, mediaText+"; charset=utf-8", []byte(c.Note))
		return nil
	}, nil
}

// signedPoll is how often a request looks for the checkpoint that it waits for.
const signedPoll = 50 * time.Millisecond

// signed gives the newest signed checkpoint, once there is one of at least a size.
func (s *server) signed(r *request, size int64) (integrity.SignedCheckpoint, error) {
	ctx, cancel := context.WithTimeout(r.Context(), r.patience())
	defer cancel()
	for {
		c, err := s.config.Integrity.Latest(r.Context())
		if err == nil && c.Size >= size || err != nil && !errors.Is(err, integrity.ErrNoCheckpoint) {
			return c, err
		}
		timer := time.NewTimer(signedPoll)
		select {
		case <-timer.C:
			continue
		case <-ctx.Done():
			timer.Stop()
		case <-s.stop.Done():
			timer.Stop()
		}
		if err := r.Context().Err(); err != nil {
			return c, err
		}
		p := newProblem("read-model-behind", fmt.Sprintf("the last signed checkpoint is of size %d and didn't reach %d in time", c.Size, size))
		if err != nil {
			p = newProblem("unavailable", "no checkpoint has been signed yet")
		}
		p.retryAfter = retryLater
		return c, p
	}
}

// inclusionView proves that an event is in the tree.
type inclusionView struct {
	Position     int64            `json:"position"`
	LeafIndex    int64            `json:"leaf_index"`
	TreeSize     int64            `json:"tree_size"`
	RootHash     integrity.Hash   `json:"root_hash"`
	LeafHash     integrity.Hash   `json:"leaf_hash"`
	Hashes       []integrity.Hash `json:"hashes"`
	Checkpoint   *string          `json:"checkpoint"`
	Leaf         string           `json:"leaf"`
	Data         string           `json:"data"`
	DataSalt     []byte           `json:"data_salt"`
	Metadata     string           `json:"metadata"`
	MetadataSalt []byte           `json:"metadata_salt"`
}

// getInclusion proves that one of the caller's events is in the tree, with all that its leaf is made of.
func (s *server) getInclusion(r *request) (answer, error) {
	position := r.query.required("position", 1)
	size, sized := r.query.position("size", 1)
	if sized && size < position {
		r.query.fail("size", "must not be below the position")
	}
	return func(w http.ResponseWriter) error {
		if err := s.readLog(r); err != nil {
			return err
		}
		record, err := s.config.Records.Record(r.Context(), r.who.Client, position)
		if err != nil {
			return err
		}
		leaf, err := record.Leaf()
		if err != nil {
			return err
		}
		line, err := leaf.Bytes()
		if err != nil {
			return err
		}
		checkpoint, err := s.signedTree(r, max(position, size), size)
		if err != nil {
			return err
		}
		if !sized {
			size = checkpoint.Size
		}
		proof, err := s.config.Integrity.Inclusion(r.Context(), position, size)
		if err != nil {
			return integrityError(err)
		}
		if err := s.recordRead(r, record.Envelope); err != nil {
			return err
		}
		return writeJSON(w, r, http.StatusOK, inclusionView{
			Position: position, LeafIndex: position - 1, TreeSize: size, RootHash: proof.Root, LeafHash: proof.LeafHash,
			Hashes: listed(proof.Hashes), Checkpoint: noteOf(checkpoint, size), Leaf: string(line), Data: string(record.Data),
			DataSalt: record.DataSalt, Metadata: string(record.Metadata), MetadataSalt: record.MetadataSalt,
		})
	}, nil
}

// signedTree waits until a size is signed, which the log must have reached, and gives the checkpoint of the size that is
// asked for; 0: the newest.
func (s *server) signedTree(r *request, size, asked int64) (integrity.SignedCheckpoint, error) {
	head, err := s.config.Events.Head(r.Context())
	if err != nil {
		return integrity.SignedCheckpoint{}, err
	}
	if size > head {
		return integrity.SignedCheckpoint{}, notFound("the log doesn't reach to " + strconv.FormatInt(size, 10))
	}
	newest, err := s.signed(r, size)
	if err != nil || asked == 0 || asked == newest.Size {
		return newest, err
	}
	c, err := s.config.Integrity.CheckpointAt(r.Context(), asked)
	if errors.Is(err, integrity.ErrNoCheckpoint) {
		return newest, nil // not every size was signed: the tree had it all the same
	}
	return c, err
}

// noteOf is the checkpoint's note if it is of a size.
func noteOf(c integrity.SignedCheckpoint, size int64) *string {
	if c.Size != size {
		return nil
	}
	return &c.Note
}

func listed(hashes []integrity.Hash) []integrity.Hash {
	if hashes == nil {
		return []integrity.Hash{}
	}
	return hashes
}

// consistencyView proves that a tree continues an earlier one.
type consistencyView struct {
	From       int64            `json:"from"`
	To         int64            `json:"to"`
	FromRoot   integrity.Hash   `json:"from_root"`
	ToRoot     integrity.Hash   `json:"to_root"`
	Hashes     []integrity.Hash `json:"hashes"`
	Checkpoint *string          `json:"checkpoint"`
}

// getConsistency proves that the tree of one size continues that of another.
func (s *server) getConsistency(r *request) (answer, error) {
	from, to := r.query.required("from", 1), r.query.required("to", 1)
	if from > to {
		r.query.fail("from", "must not be above to")
	}
	return func(w http.ResponseWriter) error {
		if err := s.readLog(r); err != nil {
			return err
		}
		checkpoint, err := s.signedTree(r, to, to)
		if err != nil {
			return err
		}
		proof, err := s.config.Integrity.Consistency(r.Context(), from, to)
		if err != nil {
			return integrityError(err)
		}
		return writeJSON(w, r, http.StatusOK, consistencyView{
			From: from, To: to, FromRoot: proof.FromRoot, ToRoot: proof.ToRoot, Hashes: listed(proof.Hashes),
			Checkpoint: noteOf(checkpoint, to),
		})
	}, nil
}

// getTile serves a tile of C2SP tlog-tiles. Full ones never change.
func (s *server) getTile(r *request) (answer, error) {
	return func(w http.ResponseWriter) error {
		level, index, width, ok := parseTile(r.vars["level"], r.vars["tile"])
		if !ok {
			return notFound("there is no such tile")
		}
		if err := s.readLog(r); err != nil {
			return err
		}
		tile, err := s.config.Integrity.Tile(r.Context(), level, index, width)
		if err != nil {
			return integrityError(err)
		}
		if width == fullTile {
			w.Header().Set("Cache-Control", "private, max-age=31536000, immutable")
		}
		writeBody(w, r, http.StatusOK, mediaBytes, tile)
		return nil
	}, nil
}

const fullTile = 256

var tilePath = regexp.MustCompile(`^((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?$`)

// parseTile reads the path of a tile: the level, and the index in groups of three digits, all but the last with an x before
// them, and of a partial tile its width. Each tile has one path.
func parseTile(levelText, tile string) (level int, index int64, width int, ok bool) {
	parts := tilePath.FindStringSubmatch(tile)
	level, err := strconv.Atoi(levelText)
	if parts == nil || err != nil || strconv.Itoa(level) != levelText || level < 0 || level > 63 {
		return 0, 0, 0, false
	}
	digits := strings.NewReplacer("x", "", "/", "").Replace(parts[1])
	if len(digits) > 3 && strings.HasPrefix(digits, "000") {
		return 0, 0, 0, false
	}
	if index, err = strconv.ParseInt(digits, 10, 64); err != nil {
		return 0, 0, 0, false
	}
	if width = fullTile; parts[2] != "" {
		if width, err = strconv.Atoi(parts[2]); err != nil || width >= fullTile {
			return 0, 0, 0, false
		}
	}
	return level, index, width, true
}

// listSigningKeys lists the keys with which checkpoints can be verified.
func (s *server) listSigningKeys(r *request) (answer, error) {
	return func(w http.ResponseWriter) error {
		if err := s.readLog(r); err != nil {
			return err
		}
		origin, err := s.config.Integrity.Origin(r.Context())
		if err != nil {
			return err
		}
		keys, err := s.config.Integrity.Keys(r.Context())
		if err != nil {
			return err
		}
		view := struct {
			Origin string           `json:"origin"`
			Items  []signingKeyView `json:"items"`
		}{Origin: origin, Items: []signingKeyView{}}
		for _, k := range keys {
			if k.Status == integrity.KeyPending {
				continue // signs nothing yet
			}
			view.Items = append(view.Items, signingKeyViewOf(k))
		}
		return writeJSON(w, r, http.StatusOK, view)
	}, nil
}

// signingKeyView is a key as the API shows it.
type signingKeyView struct {
	ID              string     `json:"id"`
	VerifierKey     string     `json:"verifier_key"`
	Status          string     `json:"status"`
	CreatedAt       timestamp  `json:"created_at"`
	Position        *int64     `json:"position"`
	RetiredAt       *timestamp `json:"retired_at"`
	RetiredPosition *int64     `json:"retired_position"`
}

func signingKeyViewOf(k integrity.Key) signingKeyView {
	return signingKeyView{
		ID: k.ID, VerifierKey: k.VerifierKey, Status: string(k.Status), CreatedAt: timestamp(k.CreatedAt), Position: k.Position,
		RetiredAt: (*timestamp)(k.RetiredAt), RetiredPosition: k.RetiredPosition,
	}
}

// integrityError says what a proof or tile that can't be given means to the caller.
func integrityError(err error) error {
	if errors.Is(err, integrity.ErrNotSealed) {
		return notFound("the tree doesn't reach there")
	}
	return err
}
