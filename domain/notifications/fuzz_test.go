package notifications_test

import (
	"net/url"
	"strings"
	"testing"

	"annals/domain/notifications"
)

// FuzzWebhookURL: a URL that is taken names one http or https server and hides nothing from who reads it.
func FuzzWebhookURL(f *testing.F) {
	for _, seed := range []string{
		"https://example.com/hook?x=1", "http://[::1]:8080/", "http://u:p@h/", "http://h:0/", "http://h:/", "//h", "http:h",
		"http://h\\@other/", "http://h/%zz", "http://h/#f", "https://exämple.com/", "http://h /", "http://127.1/", "gopher://h/",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		cmd := notifications.RegisterWebhookCommand{
			URL: text, EventTypes: []string{"order.created"}, Known: []string{"order.created"}, Secret: strings.Repeat("s", 32),
		}
		if len(cmd.Validate()) > 0 {
			return
		}
		u, err := url.Parse(text)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || u.User != nil || u.Fragment != "" ||
			len(text) > notifications.MaxURL*4 || strings.ContainsAny(text, "\x00\r\n") {
			t.Fatalf("%q is taken: %+v, %v", text, u, err)
		}
		if again, err := url.Parse(u.String()); err != nil || again.Host != u.Host {
			t.Fatalf("%q is another server when it is written again: %v", text, err)
		}
	})
}
