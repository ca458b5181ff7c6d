package rest

import "sync"

// recent remembers the position of each client's last command on this node, so that a GET that follows it shows its
// effect although it doesn't ask to.
type recent struct {
	mu        sync.Mutex
	positions map[string]int64
}

// maxRecent bounds the clients that are remembered. Who is forgotten only loses a comfort.
const maxRecent = 10_000

func newRecent() *recent { return &recent{positions: make(map[string]int64)} }

func (r *recent) note(client string, position int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, found := r.positions[client]
	if !found && len(r.positions) >= maxRecent {
		for other := range r.positions { // any one
			delete(r.positions, other)
			break
		}
	}
	r.positions[client] = max(known, position)
}

func (r *recent) position(client string) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.positions[client]
}
