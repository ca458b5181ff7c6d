package eventstore

import (
	"errors"
	"fmt"
	"time"

	"annals/domain"
)

// AppendRequest is everything one command writes, at once or not at all: events over one or more streams, each at the
// version the decision was made on; claims; and the idempotency key with the answer to keep.
type AppendRequest struct {
	Client      string              // the tenant; never AllClients
	Streams     []StreamExpectation // each stream once; with events for it, or only read
	Events      []NewEvent          // of one stream in the order of their versions
	Releases    []ClaimChange       // before Claims; a claim that its owner doesn't hold is left alone
	Claims      []ClaimChange       // one that its owner holds already is no conflict
	Idempotency *Idempotency        // nil: none
	// Timing, unless nil, is written before Append returns, except when it returns ctx's error.
	Timing *AppendTiming
}

// StreamExpectation says at which version a stream must be for the append to happen. 0: it must not exist.
type StreamExpectation struct {
	AggregateID domain.ID
	Expected    int64
}

// NewEvent is an event on its way into the log. The id is fixed by the caller, so that a repeated append recognises its
// own events.
type NewEvent struct {
	EventID          domain.ID // UUID version 7
	EventType        string
	SchemaVersion    int // 1 or more
	AggregateType    string
	AggregateID      domain.ID
	AggregateVersion int64 // expected + 1, + 2, …
	ActorID          string
	OccurredAt       time.Time // kept to the microsecond
	CorrelationID    string
	CausationID      string
	RequestID        string
	Data             []byte // JSON; together with Metadata at most MaxEventBytes
	Metadata         []byte // JSON object
}

// ClaimChange takes or releases a unique value of the request's client.
type ClaimChange struct {
	Kind, Value string    // such as "product.sku" and the sku
	Owner       domain.ID // the stream that holds it, or lets it go
}

// Idempotency keeps the answer of a command under the caller's key.
type Idempotency struct {
	Scope       string // "http" or "policy:<name>": keys of different scopes never meet
	Key         string // unique within client and scope
	Fingerprint []byte // of method, path and body: the same key with another one is refused
	Result      []byte // JSON object that the answer is rendered from
}

// AppendOutcome is a successful append.
type AppendOutcome struct {
	Head          int64 // the highest position after the append
	FirstPosition int64 // of the request's events, which are consecutive; 0 when it had none
	// Replayed: the key was known with the same fingerprint. Nothing was appended; Result and FirstPosition are the
	// first command's.
	Replayed bool
	Result   []byte // nil unless Replayed
}

// ConflictError says that streams are not at the expected versions. Only this error permits a new decision.
type ConflictError struct {
	// Versions are those of streams of the request that moved. When the node knows that it is too late without asking
	// the log, a version can be lower than the stream's by now, and streams can be missing, but never all.
	Versions map[domain.ID]int64
}

// Error implements error.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("conflict on %d streams", len(e.Versions))
}

// ClaimTakenError says that another stream holds a value. Index counts in AppendRequest.Claims.
type ClaimTakenError struct {
	Index int
}

// Error implements error.
func (e *ClaimTakenError) Error() string { return fmt.Sprintf("claim %d is taken", e.Index) }

// TooLargeError says that an event or a request is larger than the log takes. Sizes are in bytes.
type TooLargeError struct {
	What        string // what is too large, for people
	Size, Limit int
}

// Error implements error.
func (e *TooLargeError) Error() string {
	return fmt.Sprintf("%s has %d bytes; the limit is %d", e.What, e.Size, e.Limit)
}

// Errors of an append that concern neither the request's streams nor its claims.
var (
	// ErrKeyReused: the idempotency key is known with another fingerprint.
	ErrKeyReused = errors.New("the idempotency key was used for another request")
	// ErrOverloaded: the queue is full. Nothing was written; try again later.
	ErrOverloaded = errors.New("too many appends are waiting")
	// ErrUnavailable: the database can't be reached. Nothing was written.
	ErrUnavailable = errors.New("the database is unavailable")
	// ErrDiskFull: the database's disk is full. Nothing was written; it is an ErrUnavailable that lasts until there is room.
	ErrDiskFull = fmt.Errorf("%w: its disk is full", ErrUnavailable)
	// ErrOutcomeUnknown: the connection was lost and whether the append was committed couldn't be found out in time.
	// The same request with the same idempotency key finds out.
	ErrOutcomeUnknown = errors.New("the outcome of the append is unknown")
	// ErrLogBehind: the log ends before a position this node has seen: its tail was lost (failover, restore). Writing
	// on would use positions twice; the node refuses until it is restarted and the operator has looked.
	ErrLogBehind = errors.New("the log is behind a position that was already acknowledged")
	// ErrInvalidAppend: the request itself is wrong (NUL, invalid UTF-8, a stream twice, …). A bug of the caller.
	ErrInvalidAppend = errors.New("invalid append request")
	// ErrClosed: the store is shutting down. Nothing was written.
	ErrClosed = errors.New("the event store is closed")
)

// Limits of one append.
const (
	MaxEventBytes  = 256 << 10 // data and metadata of one event
	MaxAppendBytes = 4 << 20   // all events of one statement
)
