package projections

import "github.com/ThreeDotsLabs/watermill/message"

// SetOuter wraps everything, also what keeps messages from going back to watermill-sql.
func SetOuter(cfg *Config, m ...message.HandlerMiddleware) { cfg.outer = m }

// SetLooked sets what is called after every look at the log.
func SetLooked(cfg *Config, looked func(subscriber string)) { cfg.looked = looked }

// SetTailed sets what is called for every page that came from the tail.
func SetTailed(cfg *Config, tailed func(subscriber string)) { cfg.tailed = tailed }
