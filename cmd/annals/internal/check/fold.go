package check

import (
	"container/list"
	"context"
	"errors"
	"fmt"

	"annals/domain"
	"annals/eventstore"
)

// errUnfolded says that an event can't be folded because one before it in its stream has failed, which is reported there.
var errUnfolded = errors.New("an event before it in its stream has failed")

// fold is a stream as far as it was checked.
type fold struct {
	id             domain.ID
	client, typeOf string
	version        int64
	state          any
	broken         bool // an event of it has failed: its state is not known any more
	size           int  // in bytes, taken to be that of its events
}

// entryBytes is what a stream costs besides its state, about.
const entryBytes = 300

// folds keeps the states of the streams used last.
type folds struct {
	log      Log
	decoder  *decoder
	registry *domain.Registry

	streams, bytes int // at most
	size           int
	byID           map[domain.ID]*list.Element
	recent         *list.List // of *fold, the one used last in front
}

func newFolds(log Log, d *decoder, registry *domain.Registry, streams, bytes int) *folds {
	return &folds{
		log: log, decoder: d, registry: registry, streams: streams, bytes: bytes,
		byID: make(map[domain.ID]*list.Element), recent: list.New(),
	}
}

// add folds an event into its stream. fault is what is wrong with it; err says that the log couldn't be read.
func (s *folds) add(ctx context.Context, e *decoded) (fault, err error) {
	f, err := s.stream(ctx, e)
	if err != nil {
		return nil, err
	}
	before := f.size
	fault = f.apply(s.registry, e)
	s.size += f.size - before
	s.evict()
	return fault, nil
}

// stream gives the state before an event: the one that is kept, else what the events before it make.
func (s *folds) stream(ctx context.Context, e *decoded) (*fold, error) {
	if element, ok := s.byID[e.AggregateID]; ok {
		s.recent.MoveToFront(element)
		return element.Value.(*fold), nil
	}
	f := &fold{id: e.AggregateID, client: e.ClientID, typeOf: e.AggregateType, size: entryBytes}
	for more := e.AggregateVersion > 1; more; {
		page, err := s.log.Stream(ctx, eventstore.AllClients, e.AggregateType, e.AggregateID, f.version, pageEvents)
		if domain.CodeOf(err) == domain.CodeNotFound {
			break // the event says that there are others: its version shows
		}
		if err != nil {
			return nil, err
		}
		for _, earlier := range page.Events {
			if earlier.AggregateVersion >= e.AggregateVersion {
				page.More = false
				break
			}
			again := decoded{Envelope: earlier}
			s.decoder.decode(&again)
			_ = f.apply(s.registry, &again) // reported at its own position
		}
		more = page.More
	}
	s.byID[f.id] = s.recent.PushFront(f)
	s.size += f.size
	return f, nil
}

// apply folds an event, decoded or not, and gives what is wrong with it in its stream.
func (f *fold) apply(registry *domain.Registry, e *decoded) (fault error) {
	last := f.version
	f.version = e.AggregateVersion
	defer func() {
		if value := recover(); value != nil {
			fault = fmt.Errorf("folding it into the %s panics: %v", e.AggregateType, value)
		}
		if fault != nil {
			f.broken, f.state = true, nil
		}
	}()
	switch {
	case e.AggregateVersion != last+1:
		return fmt.Errorf("version %d of stream %s follows version %d", e.AggregateVersion, f.id, last)
	case e.ClientID != f.client || e.AggregateType != f.typeOf:
		return fmt.Errorf("stream %s is a %s of client %s, and this event says a %s of client %s", f.id, f.typeOf, f.client,
			e.AggregateType, e.ClientID)
	case e.fault != nil:
		return e.fault
	case f.broken:
		f.size = entryBytes
		return errUnfolded
	}
	aggregate, ok := registry.Aggregate(e.AggregateType)
	if !ok {
		return fmt.Errorf("there is no aggregate type %s", e.AggregateType)
	}
	if f.state == nil {
		f.state = aggregate.InitialState()
	}
	state, err := aggregate.EvolveState(f.state, e.event)
	if err != nil {
		return err
	}
	f.state, f.size = state, f.size+len(e.Data)
	return nil
}

// evict drops the streams that weren't used for longest.
func (s *folds) evict() {
	for s.recent.Len() > 1 && (s.recent.Len() > s.streams || s.size > s.bytes) {
		oldest := s.recent.Remove(s.recent.Back()).(*fold)
		delete(s.byID, oldest.id)
		s.size -= oldest.size
	}
}
