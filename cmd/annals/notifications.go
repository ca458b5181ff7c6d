package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"annals/eventstore"
	"annals/projections/policies/notifications"
	"annals/projections/webhooks"
	"annals/transport/notify"
)

// notificationConns is the size of the pool of the queue, which mustn't wait for anybody else's work.
const notificationConns = 4

// notificationFlags say how webhooks and mailboxes are told of events.
type notificationFlags struct {
	attempts   int
	retry      time.Duration
	timeout    time.Duration
	publicOnly bool
	mail       notify.MailConfig
}

func (f *notificationFlags) register(flags *pflag.FlagSet) {
	flags.IntVar(&f.attempts, "webhook-attempts", 15, "`times` that an event is sent before it becomes a dead letter")
	flags.DurationVar(&f.retry, "webhook-retry", 5*time.Second, "`time` before an event is sent a second time, doubled each time up to 4h")
	flags.DurationVar(&f.timeout, "webhook-timeout", 10*time.Second, "longest `time` that a receiver may take")
	flags.BoolVar(&f.publicOnly, "webhook-public-only", false, "send events to public addresses only: not to loopback or private networks")
	flags.StringVar(&f.mail.Addr, "smtp-addr", "", "`host:port` of an SMTP server; new holds, violated thresholds and orders are then sent by mail")
	flags.StringVar(&f.mail.From, "smtp-from", "", "mail `address` of the sender")
	flags.StringSliceVar(&f.mail.To, "smtp-to", nil, "mail `addresses` of the recipients, with commas between them")
	flags.StringVar(&f.mail.Username, "smtp-username", "", "`name` at the SMTP server; none: without authentication")
	flags.StringVar(&f.mail.Password, "smtp-password", "", "`password` at the SMTP server; better in ANNALS_SMTP_PASSWORD")
}

func (f *notificationFlags) check(cmd *cobra.Command) error {
	if f.attempts < 1 || f.retry <= 0 || f.timeout <= 0 {
		return misuse(cmd, "--webhook-attempts, --webhook-retry and --webhook-timeout must be above zero")
	}
	if f.mail.Addr == "" {
		if f.mail.From != "" || len(f.mail.To) > 0 || f.mail.Username != "" || f.mail.Password != "" {
			return misuse(cmd, "mail needs --smtp-addr")
		}
		return nil
	}
	if _, err := notify.NewMail(f.mail); err != nil {
		return misuse(cmd, "mail: %v", err)
	}
	return nil
}

// notifier is a node's part of telling others of events.
type notifier struct {
	queue     *notifications.Queue
	sender    *notifications.Sender
	mailSince *int64 // nil: no mail
}

// newNotifier makes the queue and what delivers from it, which doesn't run yet. Without mail it doesn't ask the database.
func (n *node) newNotifier(ctx context.Context, f *notificationFlags) error {
	pool, err := n.pool(eventstore.RoleApp, notificationConns, "notifications")
	if err != nil {
		return err
	}
	n.notifier.queue = notifications.NewQueue(pool)
	cfg := notifications.SenderConfig{
		Queue: n.notifier.queue, Webhook: notify.NewWebhooks(!f.publicOnly), Logger: n.logger, Metrics: n.metrics,
		Vault:    n.store.Vault,
		Attempts: f.attempts, FirstWait: f.retry, Timeout: f.timeout,
	}
	if f.mail.Addr != "" {
		mail, err := notify.NewMail(f.mail)
		if err != nil {
			return err
		}
		since, err := n.notifier.queue.MailSince(ctx)
		if err != nil {
			return err
		}
		cfg.Mail, n.notifier.mailSince = mail, &since
	}
	n.notifier.sender, err = notifications.NewSender(cfg)
	return err
}

// notifications is the policy that queues events for those who want them.
func (n *node) notifications() *notifications.Policy {
	return notifications.New(notifications.Config{
		Webhooks: webhooks.NewQueries(n.store.Tenants), Queue: n.notifier.queue, Registry: n.registry,
		WaitFor: n.group.WaitFor, MailSince: n.notifier.mailSince, Queued: n.notifier.sender.Wake,
	})
}
