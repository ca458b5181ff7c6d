package projections

import "github.com/ThreeDotsLabs/watermill/message"

// SetOuter wraps everything, also what keeps messages from going back to watermill-sql.
func SetOuter(cfg *Config, m ...message.HandlerMiddleware) { cfg.outer = m }

// SetLooked sets what is called after every look at the log.
func SetLooked(cfg *Config, looked func(subscriber string)) { cfg.looked = looked }
