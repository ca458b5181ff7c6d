package projections

import (
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// TakeoverBounds gives how long a node that vanished keeps a policy, and how often another one looks, by default.
func TakeoverBounds() (lease, standby time.Duration) {
	var c Config
	c.setDefaults()
	return c.Lease, c.StandbyPause
}

// SetOuter wraps everything, also what keeps messages from going back to watermill-sql.
func SetOuter(cfg *Config, m ...message.HandlerMiddleware) { cfg.outer = m }

// SetLooked sets what is called after every look at the log.
func SetLooked(cfg *Config, looked func(subscriber string)) { cfg.looked = looked }

// Nudge makes a subscriber look at once.
func (g *Group) Nudge(name string) { g.nudge(name) }

// SetTailed sets what is called for every page that came from the tail.
func SetTailed(cfg *Config, tailed func(subscriber string)) { cfg.tailed = tailed }

// StandsBy reports whether a group's subscriber takes it that another node works.
func StandsBy(g *Group, name string) bool {
	f := g.feed(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.next == waitStandby
}
