package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/smtp"
	"strings"
	"time"

	"annals/eventstore"
	"annals/projections/policies/notifications"
	"annals/transport/cloudevents"
)

// MailConfig says how events are sent by mail. Addr, From and To are required.
type MailConfig struct {
	Addr     string      // host:port of the SMTP server
	From     string      // a mail address
	To       []string    // mail addresses, at least one
	Username string      // empty: without authentication
	Password string      // sent over TLS only, or to localhost
	TLS      *tls.Config // default: the system's certificates, and the host's name
}

// Mail delivers events by SMTP, over TLS where the server offers it: an offer that fails fails the attempt.
type Mail struct {
	config   MailConfig
	host     string
	from     *mail.Address
	to       []*mail.Address
	tls      *tls.Config
	hostname string // of the Message-ID
	clock    func() time.Time
}

// NewMail makes the deliverer. It fails on addresses that aren't any; it doesn't connect.
func NewMail(config MailConfig) (*Mail, error) {
	m := &Mail{config: config, tls: config.TLS, clock: time.Now}
	var err error
	if m.host, _, err = net.SplitHostPort(config.Addr); err != nil {
		return nil, fmt.Errorf("the SMTP server %q must be host:port: %w", config.Addr, err)
	}
	if m.from, err = mail.ParseAddress(config.From); err != nil {
		return nil, fmt.Errorf("the sender %q must be a mail address: %w", config.From, err)
	}
	for _, text := range config.To {
		to, err := mail.ParseAddress(text)
		if err != nil {
			return nil, fmt.Errorf("the recipient %q must be a mail address: %w", text, err)
		}
		m.to = append(m.to, to)
	}
	if len(m.to) == 0 {
		return nil, errors.New("mail needs a recipient")
	}
	if m.tls == nil {
		m.tls = &tls.Config{ServerName: m.host, MinVersion: tls.VersionTLS12}
	}
	_, m.hostname, _ = strings.Cut(m.from.Address, "@")
	return m, nil
}

// Deliver implements notifications.Deliverer.
func (m *Mail) Deliver(ctx context.Context, d notifications.Delivery) error {
	message, err := m.compose(d.Event)
	if err != nil {
		return err
	}
	if err := m.send(ctx, message); err != nil {
		return &notifications.Failure{Reason: "the mail server didn't take the message", Err: err}
	}
	return nil
}

// send holds one dialogue with the server.
func (m *Mail) send(ctx context.Context, message []byte) error {
	dialer := &net.Dialer{Timeout: connectTimeout}
	conn, err := dialer.DialContext(ctx, "tcp", m.config.Addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })() // ends what net/smtp waits for
	c, err := smtp.NewClient(conn, m.host)
	if err != nil {
		return err
	}
	if offered, _ := c.Extension("STARTTLS"); offered {
		if err := c.StartTLS(m.tls); err != nil {
			return fmt.Errorf("begin TLS: %w", err)
		}
	}
	if m.config.Username != "" {
		if err := c.Auth(smtp.PlainAuth("", m.config.Username, m.config.Password, m.host)); err != nil {
			return fmt.Errorf("authenticate: %w", err)
		}
	}
	if err := c.Mail(m.from.Address); err != nil {
		return err
	}
	for _, to := range m.to {
		if err := c.Rcpt(to.Address); err != nil {
			return err
		}
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(message); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	_ = c.Quit() // the message is the server's by now
	return nil
}

// compose writes the message of an event. Its Message-ID is the event's for ever, so that a second delivery is known as
// one.
func (m *Mail) compose(e eventstore.Envelope) ([]byte, error) {
	var data bytes.Buffer
	if err := json.Indent(&data, e.Data, "", "  "); err != nil {
		return nil, fmt.Errorf("write event %s: %w", e.EventID, err)
	}
	shown := cloudevents.Of(e)
	to := make([]string, len(m.to))
	for i, address := range m.to {
		to[i] = address.String()
	}
	var b bytes.Buffer
	for _, header := range [][2]string{
		{"From", m.from.String()},
		{"To", strings.Join(to, ",\r\n ")},
		{"Subject", mime.QEncoding.Encode("utf-8", fmt.Sprintf("[annals] %s: %s %s", e.ClientID, e.EventType, e.AggregateID))},
		{"Date", m.clock().Format(time.RFC1123Z)},
		{"Message-ID", "<" + shown.ID + "@" + m.hostname + ">"},
		{"Auto-Submitted", "auto-generated"},
		{"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"},
		{"Content-Transfer-Encoding", "quoted-printable"},
	} {
		fmt.Fprintf(&b, "%s: %s\r\n", header[0], header[1])
	}
	b.WriteString("\r\n")
	text := quotedprintable.NewWriter(&b)
	fmt.Fprintf(text, "%s of %s\n\nclient:   %s\nactor:    %s\ntime:     %s\nposition: %s\nevent:    %s\n\n%s\n",
		e.EventType, shown.Subject, e.ClientID, e.ActorID, shown.Time, shown.Position, shown.ID, data.Bytes())
	if err := text.Close(); err != nil {
		return nil, fmt.Errorf("write event %s: %w", e.EventID, err)
	}
	return b.Bytes(), nil
}
