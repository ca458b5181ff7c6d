package eventstore

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
)

// FuzzMaskSecrets: no password of a connection string is shown, however it is written.
func FuzzMaskSecrets(f *testing.F) {
	for _, seed := range []string{"s3cret-pass", `with'quote and \back`, "p@ss:w/rd?#%", "ümläut-pass", "password=pass", "x&password=y"} {
		f.Add(seed, "host")
	}
	f.Add("s3cret-pass", "h ost=' \\")
	f.Fuzz(func(t *testing.T, password, host string) {
		_ = MaskSecrets(password) // whatever it is: no panic
		const known = "Sesame-"   // nothing else in a string has it
		secret := known + password
		if strings.ContainsRune(secret, 0) {
			return
		}
		quoted := strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(secret)
		for _, dsn := range []string{
			(&url.URL{Scheme: "postgres", User: url.UserPassword("u", secret), Host: "h", Path: "/d"}).String(),
			"postgres://u@h/d?sslmode=disable&password=" + url.QueryEscape(secret),
			"postgres://u@h/d?sslpassword=" + url.QueryEscape(secret),
			fmt.Sprintf("host=h password='%s' user=u", quoted),
			fmt.Sprintf("password = '%s'", quoted),
		} {
			if shown := MaskSecrets(dsn); strings.Contains(shown, known) {
				t.Fatalf("%q is shown as %q", dsn, shown)
			}
		}
		if broken := "postgres://u:" + secret + "@" + host; strings.Contains(MaskSecrets(broken), known) {
			t.Fatalf("%q is shown as %q", broken, MaskSecrets(broken))
		}
	})
}
