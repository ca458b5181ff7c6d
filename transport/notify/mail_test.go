package notify_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/http/httptest"
	"net/mail"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"

	"annals/domain"
	"annals/domain/manufacturing"
	"annals/projections/policies/notifications"
	"annals/transport/notify"
)

// mailServer is a small SMTP server over real sockets.
type mailServer struct {
	t       testing.TB
	address string
	tls     *tls.Config // nil: not offered
	busy    int         // answers 451 to so many messages first

	mu       sync.Mutex
	messages []envelope
	tried    int
}

// envelope is a message that the server took.
type envelope struct {
	from   string
	to     []string
	secure bool
	user   string
	text   string
}

func newMailServer(t testing.TB, secure *tls.Config, busy int) *mailServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	s := &mailServer{t: t, address: listener.Addr().String(), tls: secure, busy: busy}
	var dialogues sync.WaitGroup
	t.Cleanup(func() { listener.Close(); dialogues.Wait() })
	dialogues.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			dialogues.Go(func() { s.talk(conn) })
		}
	})
	return s
}

func (s *mailServer) talk(conn net.Conn) {
	defer func() { conn.Close() }()
	in := textproto.NewReader(bufio.NewReader(conn))
	say := func(format string, args ...any) { fmt.Fprintf(conn, format+"\r\n", args...) }
	say("220 ready")
	var m envelope
	for {
		line, err := in.ReadLine()
		if err != nil {
			return
		}
		verb, rest, _ := strings.Cut(line, " ")
		switch strings.ToUpper(verb) {
		case "EHLO":
			if s.tls != nil && !m.secure {
				say("250-hello\r\n250 STARTTLS")
			} else {
				say("250-hello\r\n250 AUTH PLAIN")
			}
		case "STARTTLS":
			say("220 go on")
			secured := tls.Server(conn, s.tls)
			conn, in, m.secure = secured, textproto.NewReader(bufio.NewReader(secured)), true
		case "AUTH":
			m.user = rest
			say("235 welcome")
		case "MAIL":
			m.from, m.to = rest, nil
			say("250 ok")
		case "RCPT":
			m.to = append(m.to, rest)
			say("250 ok")
		case "DATA":
			say("354 go on")
			text, err := in.ReadDotBytes()
			if err != nil {
				return
			}
			m.text = string(text)
			say("%s", s.take(m))
		case "QUIT":
			say("221 bye")
			return
		default:
			say("502 what?")
		}
	}
}

func (s *mailServer) take(m envelope) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tried++; s.tried <= s.busy {
		return "451 come back later"
	}
	s.messages = append(s.messages, m)
	return "250 taken"
}

func (s *mailServer) taken() []envelope {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.messages)
}

// hold puts a new work order on hold and gives the hold's id.
func (n *node) hold(number string) (id domain.ID, event domain.ID) {
	n.t.Helper()
	five := int64(5)
	order := n.run("acme", func(ctx context.Context, u *domain.UnitOfWork) error {
		return manufacturing.CreateWorkOrder(ctx, u, manufacturing.CreateWorkOrderCommand{
			Number: number, ProductCode: "P-7", QuantityOrdered: &five, ReceivedOn: "2026-01-05", DueOn: "2026-01-30",
		})
	}).ID
	held := n.run("acme", func(ctx context.Context, u *domain.UnitOfWork) error {
		return manufacturing.CreateHold(ctx, u, manufacturing.CreateHoldCommand{
			WorkOrderID: order.String(), Category: "Härte", Reason: "awaiting = resin", Quantity: &five,
		})
	})
	return held.ID, held.Events[0].EventID
}

// mailer sends mail to the server.
func (n *node) mailer(s *mailServer, change func(*notify.MailConfig)) {
	n.t.Helper()
	cfg := notify.MailConfig{Addr: s.address, From: "Annals <annals@plant.example>", To: []string{"a@plant.example", "b@plant.example"}}
	if change != nil {
		change(&cfg)
	}
	m, err := notify.NewMail(cfg)
	check(n.t, err)
	n.send(func(c *notifications.SenderConfig) { c.Mail = m })
}

// Mail gets through in the end, from the moment on at which it was configured, over TLS when that is offered.
func TestMail(t *testing.T) {
	t.Parallel()
	site := httptest.NewTLSServer(nil) // for its certificate
	defer site.Close()
	trusted := x509.NewCertPool()
	trusted.AddCert(site.Certificate())
	for name, c := range map[string]struct {
		server *tls.Config
		config func(*notify.MailConfig)
	}{
		"plain": {nil, nil},
		"over TLS": {&tls.Config{Certificates: site.TLS.Certificates}, func(c *notify.MailConfig) {
			c.TLS = &tls.Config{RootCAs: trusted, ServerName: "example.com"}
			c.Username, c.Password = "annals", "open sesame"
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.node(false).hold("WO-0") // before there is mail; the policy comes to it afterwards
			n := b.node(true).subscribe()
			server := newMailServer(t, c.server, 2)
			n.mailer(server, c.config)
			n.cart("acme") // a type that isn't mailed
			hold, event := n.hold("WO-1")
			b.eventually("the message is delivered", func() bool { return b.inState(notifications.MailReceiver(), "delivered") == 1 })
			if all := b.count(`SELECT count(*) FROM annals.deliveries`); all != 1 || len(server.taken()) != 1 || server.tried != 3 {
				t.Fatalf("%d queued, %d tried, taken %+v", all, server.tried, server.taken())
			}
			m := server.taken()[0]
			if m.from != "FROM:<annals@plant.example>" || !slices.Equal(m.to, []string{"TO:<a@plant.example>", "TO:<b@plant.example>"}) ||
				m.secure != (c.server != nil) || (m.user != "") != (c.server != nil) {
				t.Errorf("%+v", m)
			}
			checkMessage(t, m.text, hold, event)
		})
	}
}

func checkMessage(t *testing.T, text string, hold, event domain.ID) {
	t.Helper()
	message, err := mail.ReadMessage(strings.NewReader(text))
	check(t, err)
	subject, err := new(mime.WordDecoder).DecodeHeader(message.Header.Get("Subject"))
	check(t, err)
	if subject != "[annals] acme: hold.created "+hold.String() ||
		message.Header.Get("Message-Id") != "<"+event.String()+"@plant.example>" ||
		message.Header.Get("From") != `"Annals" <annals@plant.example>` ||
		message.Header.Get("To") != "<a@plant.example>, <b@plant.example>" {
		t.Errorf("%v", message.Header)
	}
	if _, err := message.Header.Date(); err != nil {
		t.Error(err)
	}
	body, err := io.ReadAll(quotedprintable.NewReader(message.Body))
	check(t, err)
	for _, part := range []string{"hold.created of hold/" + hold.String(), "acme", event.String(), `"category": "Härte"`, `awaiting = resin`} {
		if !strings.Contains(string(body), part) {
			t.Errorf("the text lacks %q:\n%s", part, body)
		}
	}
}

// A server whose certificate isn't trusted gets nothing: neither the message nor the password.
func TestMailOverUntrustedTLSIsNotSent(t *testing.T) {
	t.Parallel()
	site := httptest.NewTLSServer(nil)
	defer site.Close()
	b := newBench(t)
	n := b.node(true).subscribe()
	server := newMailServer(t, &tls.Config{Certificates: site.TLS.Certificates}, 0)
	m, err := notify.NewMail(notify.MailConfig{Addr: server.address, From: "a@x.example", To: []string{"b@x.example"}})
	check(t, err)
	n.send(func(c *notifications.SenderConfig) { c.Mail, c.Attempts = m, 2 })
	n.hold("WO-1")
	b.eventually("it is given up", func() bool { return b.inState(notifications.MailReceiver(), "dead") == 1 })
	if server.tried != 0 {
		t.Error("the message was sent all the same")
	}
}

func TestMailConfiguration(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]notify.MailConfig{
		"no port":           {Addr: "localhost", From: "a@x.example", To: []string{"b@x.example"}},
		"no sender":         {Addr: "localhost:25", To: []string{"b@x.example"}},
		"no recipient":      {Addr: "localhost:25", From: "a@x.example"},
		"another header":    {Addr: "localhost:25", From: "a@x.example", To: []string{"b@x.example>\r\nBcc: <c@x.example"}},
		"half a recipient":  {Addr: "localhost:25", From: "a@x.example", To: []string{"b"}},
		"the second is bad": {Addr: "localhost:25", From: "a@x.example", To: []string{"b@x.example", ""}},
	} {
		if _, err := notify.NewMail(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
