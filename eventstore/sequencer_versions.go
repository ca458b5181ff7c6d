package eventstore

import "annals/domain"

// recentIDs is how many of a stream's last event ids are remembered.
const recentIDs = 4

// knownStream is what the log has told of a stream: a version that it has reached, and the ids of its last events as far
// as this node knows them, the one of version v at v modulo recentIDs.
type knownStream struct {
	version int64
	ids     [recentIDs]domain.ID
}

// versionMemory remembers streams in two generations, of which the older one is dropped when the younger one is full.
// What it says is a lower bound: versions only grow. It isn't safe for concurrent use.
type versionMemory struct {
	limit      int // streams per generation
	young, old map[domain.ID]knownStream
}

func newVersionMemory(limit int) *versionMemory {
	return &versionMemory{limit: limit, young: make(map[domain.ID]knownStream)}
}

func (m *versionMemory) clear() { m.young, m.old = make(map[domain.ID]knownStream), nil }

func (m *versionMemory) get(id domain.ID) (knownStream, bool) {
	if k, ok := m.young[id]; ok {
		return k, true
	}
	k, ok := m.old[id]
	return k, ok
}

func (m *versionMemory) put(id domain.ID, k knownStream) {
	if len(m.young) >= m.limit {
		if _, ok := m.young[id]; !ok {
			m.old, m.young = m.young, make(map[domain.ID]knownStream, m.limit)
		}
	}
	m.young[id] = k
}

// appended notes a request's events.
func (m *versionMemory) appended(r *AppendRequest) {
	for i := range r.Events {
		e := &r.Events[i]
		k, _ := m.get(e.AggregateID)
		if k.version >= e.AggregateVersion {
			continue
		}
		if k.version != e.AggregateVersion-1 {
			k.ids = [recentIDs]domain.ID{}
		}
		k.version = e.AggregateVersion
		k.ids[k.version%recentIDs] = e.EventID
		m.put(e.AggregateID, k)
	}
}

// reached notes a version that the log has reported.
func (m *versionMemory) reached(id domain.ID, version int64) {
	if k, _ := m.get(id); version > k.version {
		m.put(id, knownStream{version: version})
	}
}

// stale gives the streams of a request that are known to have moved on, nil when there are none or when the request's
// own events might be what moved them: then only the log can tell.
func (m *versionMemory) stale(r *AppendRequest) *ConflictError {
	var versions map[domain.ID]int64
	for i := range r.Streams {
		s := &r.Streams[i]
		if k, ok := m.get(s.AggregateID); ok && k.version > s.Expected {
			if versions == nil {
				versions = make(map[domain.ID]int64)
			}
			versions[s.AggregateID] = k.version
		}
	}
	if versions == nil || len(r.Events) > 0 && !m.foreign(r) {
		return nil
	}
	return &ConflictError{Versions: versions}
}

// foreign reports whether the log is known to hold another event in the place of one of the request's. An append is
// atomic: then it holds none of them.
func (m *versionMemory) foreign(r *AppendRequest) bool {
	for i := range r.Events {
		e := &r.Events[i]
		k, ok := m.get(e.AggregateID)
		if !ok || k.version < e.AggregateVersion || k.version-e.AggregateVersion >= recentIDs {
			continue
		}
		if id := k.ids[e.AggregateVersion%recentIDs]; !id.IsZero() && id != e.EventID {
			return true
		}
	}
	return false
}
