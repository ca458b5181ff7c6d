package eventstore

import (
	"sync"
	"time"
)

// Tail is the end of the log in memory: the events that this node has appended last, without those of any other node
// between them. Subscribers read there what the node has just written, rather than have the database send it back. It
// holds committed events alone, and is safe for concurrent use.
type Tail struct {
	maxEvents, maxBytes int

	mu     sync.Mutex
	events []*TailEvent // positions follow one another
	bytes  int
}

// TailEvent is an event as it was recorded but for RecordedAt, which is the database's and the same for all of a batch.
type TailEvent struct {
	Envelope
	Batch                  int64  // the first position of the batch it was appended in
	DataSalt, MetadataSalt []byte // which hide Data and Metadata in the event's leaf
}

// tailRequest is a request whose events are in the log now, with their salts as parts has them.
type tailRequest struct {
	*AppendRequest
	salts []byte
}

// NewTail makes a tail that holds at most so many events, and so many bytes of data, metadata and salts.
func NewTail(maxEvents, maxBytes int) *Tail { return &Tail{maxEvents: maxEvents, maxBytes: maxBytes} }

// After gives at most limit events that follow a position, the next one first. There are none when the tail doesn't reach
// back to it, or doesn't go beyond it. The events must not be changed.
func (t *Tail) After(position int64, limit int) []*TailEvent {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.events) == 0 {
		return nil
	}
	skip := position + 1 - t.events[0].Position
	if skip < 0 || skip >= int64(len(t.events)) {
		return nil
	}
	rest := t.events[skip:]
	return append([]*TailEvent(nil), rest[:min(limit, len(rest))]...)
}

// forget empties the tail: the log may be another one now.
func (t *Tail) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.clear()
}

func (t *Tail) clear() { t.events, t.bytes = nil, 0 }

// add takes in the events of a batch that was committed, from its first position on. Callers may use the memory of their
// requests again: what is kept is a copy.
func (t *Tail) add(first int64, requests []tailRequest) {
	size, count := 0, 0
	for _, r := range requests {
		count += len(r.Events)
		for i := range r.Events {
			size += len(r.Events[i].Data) + len(r.Events[i].Metadata) + 2*saltBytes
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.events); n > 0 && t.events[n-1].Position+1 != first {
		t.clear() // others wrote in between
	}
	memory, made := make([]byte, 0, size), make([]TailEvent, 0, count)
	keep := func(b []byte) []byte {
		at := len(memory)
		memory = append(memory, b...)
		return memory[at:len(memory):len(memory)]
	}
	position := first
	for _, r := range requests {
		for i := range r.Events {
			e, salts := &r.Events[i], r.salts[2*saltBytes*i:]
			made = append(made, TailEvent{Batch: first, Envelope: Envelope{
				Position: position, EventID: e.EventID, EventType: e.EventType, SchemaVersion: e.SchemaVersion,
				AggregateType: e.AggregateType, AggregateID: e.AggregateID, AggregateVersion: e.AggregateVersion,
				ClientID: r.Client, ActorID: e.ActorID, OccurredAt: time.UnixMicro(e.OccurredAt.UnixMicro()).UTC(),
				CorrelationID: e.CorrelationID, CausationID: e.CausationID, RequestID: e.RequestID,
				Data: keep(e.Data), Metadata: keep(e.Metadata),
			}, DataSalt: keep(salts[:saltBytes]), MetadataSalt: keep(salts[saltBytes : 2*saltBytes])})
			t.events = append(t.events, &made[len(made)-1])
			position++
		}
	}
	t.bytes += size
	t.shrink()
}

// shrink drops the oldest events beyond the bounds.
func (t *Tail) shrink() {
	drop := 0
	for drop < len(t.events) && (len(t.events)-drop > t.maxEvents || t.bytes > t.maxBytes) {
		t.bytes -= len(t.events[drop].Data) + len(t.events[drop].Metadata) + 2*saltBytes
		t.events[drop] = nil
		drop++
	}
	t.events = t.events[drop:]
}
