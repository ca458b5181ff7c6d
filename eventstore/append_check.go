package eventstore

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"annals/domain"
)

// Limits of the texts of a request, in bytes. They keep index rows below PostgreSQL's maximum of 2704 bytes; the
// narrower limits of the API are the API's.
const (
	maxClientBytes      = 256
	maxScopeBytes       = 256
	maxKeyBytes         = 1024
	maxKindBytes        = 256
	maxValueBytes       = 1024
	maxFingerprintBytes = 256
	maxTypeBytes        = 256
	maxTextBytes        = 4096
	maxParts            = 2000 // streams, events or claims of one request
)

// Check refuses what PostgreSQL could refuse, before it can fail the appends that travel with it. Its errors are
// ErrInvalidAppend, with the reason, and *TooLargeError.
func (r *AppendRequest) Check() error {
	if len(r.Streams) == 0 && len(r.Events) == 0 && len(r.Claims) == 0 && len(r.Releases) == 0 && r.Idempotency == nil {
		return invalid("it is empty")
	}
	if max(len(r.Streams), len(r.Events), len(r.Claims), len(r.Releases)) > maxParts {
		return invalid("it has more than %d parts", maxParts)
	}
	if err := checkText("the client", r.Client, maxClientBytes, true); err != nil {
		return err
	}
	if r.Client == AllClients {
		return invalid("the client %s is for reading", AllClients)
	}
	if err := r.checkStreams(); err != nil {
		return err
	}
	if err := r.checkEvents(); err != nil {
		return err
	}
	for i := range r.Releases {
		if err := r.Releases[i].check(); err != nil {
			return err
		}
	}
	for i := range r.Claims {
		if err := r.Claims[i].check(); err != nil {
			return err
		}
	}
	return r.Idempotency.check()
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalidAppend, fmt.Sprintf(format, args...))
}

func (r *AppendRequest) checkStreams() error {
	for i, s := range r.Streams {
		if s.AggregateID.IsZero() {
			return invalid("stream %d has no id", i)
		}
		if s.Expected < 0 || s.Expected > math.MaxInt64-maxParts {
			return invalid("stream %s is expected at version %d", s.AggregateID, s.Expected)
		}
	}
	if len(r.Streams) <= smallRequest {
		for i, s := range r.Streams {
			for _, t := range r.Streams[:i] {
				if s.AggregateID == t.AggregateID {
					return invalid("stream %s is named twice", s.AggregateID)
				}
			}
		}
		return nil
	}
	seen := make(map[domain.ID]struct{}, len(r.Streams))
	for _, s := range r.Streams {
		seen[s.AggregateID] = struct{}{}
	}
	if len(seen) != len(r.Streams) {
		return invalid("a stream is named twice")
	}
	return nil
}

// smallRequest is up to how many parts comparing each with each is cheaper than a map.
const smallRequest = 8

// checkEvents also checks that the versions of each stream follow its expected one without a gap.
func (r *AppendRequest) checkEvents() error {
	var next map[domain.ID]int64
	var ids map[domain.ID]struct{}
	if len(r.Events) > smallRequest || len(r.Streams) > smallRequest {
		ids = make(map[domain.ID]struct{}, len(r.Events))
		next = make(map[domain.ID]int64, len(r.Streams))
		for _, s := range r.Streams {
			next[s.AggregateID] = s.Expected + 1
		}
	}
	total := 0
	for i := range r.Events {
		e := &r.Events[i]
		if err := e.check(); err != nil {
			return err
		}
		if total += e.size(); total > MaxAppendBytes {
			return &TooLargeError{What: "the request", Size: total, Limit: MaxAppendBytes}
		}
		var want int64
		var twice bool
		if next != nil {
			want = next[e.AggregateID]
			if want > 0 {
				next[e.AggregateID]++
			}
			_, twice = ids[e.EventID]
			ids[e.EventID] = struct{}{}
		} else {
			want, twice = r.expectedOf(i)
		}
		switch {
		case want == 0:
			return invalid("event %s is on a stream that the request doesn't name", e.EventType)
		case e.AggregateVersion != want:
			return invalid("event %s has version %d where %d follows", e.EventType, e.AggregateVersion, want)
		case twice:
			return invalid("event id %s is used twice", e.EventID)
		}
	}
	return nil
}

// expectedOf gives the version that event i must have, 0 without a stream for it, and whether an earlier event has its
// id.
func (r *AppendRequest) expectedOf(i int) (want int64, twice bool) {
	e := &r.Events[i]
	for _, s := range r.Streams {
		if s.AggregateID == e.AggregateID {
			want = s.Expected + 1
		}
	}
	for j := range r.Events[:i] {
		if r.Events[j].AggregateID == e.AggregateID {
			want++
		}
		twice = twice || r.Events[j].EventID == e.EventID
	}
	return want, twice
}

func (e *NewEvent) size() int { return len(e.Data) + len(e.Metadata) }

func (e *NewEvent) check() error {
	if e.EventID.IsZero() {
		return invalid("event %s has no id", e.EventType)
	}
	if e.SchemaVersion < 1 || e.SchemaVersion > math.MaxInt32 {
		return invalid("event %s has schema version %d", e.EventType, e.SchemaVersion)
	}
	if year := e.OccurredAt.UTC().Year(); year < 1 || year > 9999 {
		return invalid("event %s occurred in the year %d", e.EventType, year)
	}
	if n := e.size(); n > MaxEventBytes {
		return &TooLargeError{What: "event " + e.EventType, Size: n, Limit: MaxEventBytes}
	}
	if err := checkText("the event type", e.EventType, maxTypeBytes, true); err != nil {
		return err
	}
	if err := checkText("the aggregate type", e.AggregateType, maxTypeBytes, true); err != nil {
		return err
	}
	for i, text := range [...]string{e.ActorID, e.CorrelationID, e.CausationID, e.RequestID} {
		what := [...]string{"the actor", "the correlation id", "the causation id", "the request id"}[i]
		if err := checkText(what, text, maxTextBytes, false); err != nil {
			return err
		}
	}
	if err := checkJSON(e.Data, false); err != nil {
		return invalid("the data of event %s: %v", e.EventType, err)
	}
	if err := checkJSON(e.Metadata, true); err != nil {
		return invalid("the metadata of event %s: %v", e.EventType, err)
	}
	return nil
}

func (c *ClaimChange) check() error {
	if c.Owner.IsZero() {
		return invalid("the claim of %s has no owner", c.Kind)
	}
	if err := checkText("the kind of a claim", c.Kind, maxKindBytes, true); err != nil {
		return err
	}
	return checkText("the value of a claim", c.Value, maxValueBytes, false)
}

func (k *Idempotency) check() error {
	if k == nil {
		return nil
	}
	if err := checkText("the idempotency scope", k.Scope, maxScopeBytes, true); err != nil {
		return err
	}
	if err := checkText("the idempotency key", k.Key, maxKeyBytes, true); err != nil {
		return err
	}
	if len(k.Fingerprint) == 0 || len(k.Fingerprint) > maxFingerprintBytes {
		return invalid("the fingerprint has %d bytes", len(k.Fingerprint))
	}
	if len(k.Result) > MaxEventBytes {
		return &TooLargeError{What: "the result kept with the idempotency key", Size: len(k.Result), Limit: MaxEventBytes}
	}
	if err := checkJSON(k.Result, true); err != nil {
		return invalid("the result kept with the idempotency key: %v", err)
	}
	return nil
}

func checkText(what, text string, limit int, required bool) error {
	switch {
	case text == "" && required:
		return invalid("%s is empty", what)
	case len(text) > limit:
		return invalid("%s has %d bytes; the limit is %d", what, len(text), limit)
	case strings.IndexByte(text, 0) >= 0:
		return invalid("%s holds a NUL character", what)
	case !utf8.ValidString(text):
		return invalid("%s is not valid UTF-8", what)
	}
	return nil
}
