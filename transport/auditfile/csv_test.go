package auditfile

import (
	"bytes"
	"encoding/csv"
	"strings"
	"testing"
)

func TestCellsAreNoFormulas(t *testing.T) {
	t.Parallel()
	for cell, want := range map[string]string{
		"=1+1": "'=1+1", "+1": "'+1", "-1": "'-1", "@SUM(A1)": "'@SUM(A1)", "\t=1": "'\t=1", "\r=1": "\"'\r=1\"", "\n=1": "\"'\n=1\"",
		"＝1": "'＝1", "＋1": "'＋1", "－1": "'－1", "＠x": "'＠x", "'x": "''x", `=HYPERLINK("x","y")`: `"'=HYPERLINK(""x"",""y"")"`,
		"a=1": "a=1", "": `""`, " =1": `" =1"`, "a,b": `"a,b"`, `a"b`: `"a""b"`, "a\r\nb": "\"a\r\nb\"", `{"a":1}`: `"{""a"":1}"`,
		"ä": "ä",
	} {
		var b bytes.Buffer
		appendRecord(&b, cell, "x")
		if got := b.String(); got != want+",x\r\n" {
			t.Errorf("%q is written %q, want %q", cell, got, want)
		}
	}
}

// FuzzRecord reads every record back with another reader: cells are what they were, but for one apostrophe, and none begins
// as a formula does.
func FuzzRecord(f *testing.F) {
	for _, seed := range [][2]string{{"a", "b"}, {"=1", `"`}, {"\r\n", "'"}, {"", ""}, {",", "\x00\xff"}, {"＝", "@"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, one, two string) {
		var b bytes.Buffer
		appendRecord(&b, one, two)
		appendRecord(&b, two, one)
		records, err := csv.NewReader(&b).ReadAll()
		if err != nil || len(records) != 2 {
			t.Fatalf("%q, %q: %d records, %v", one, two, len(records), err)
		}
		for i, want := range []string{one, two, two, one} {
			got := records[i/2][i%2]
			if strings.IndexAny(got, "=+-@\t\r\n") == 0 {
				t.Fatalf("%q begins as a formula", got)
			}
			want = strings.ReplaceAll(want, "\r\n", "\n") // which the reader does
			if got != want && got != "'"+want {
				t.Fatalf("%q is read as %q", want, got)
			}
			if strings.HasPrefix(want, "'") && got != "'"+want {
				t.Fatalf("%q can't be told from a cell that got an apostrophe", got)
			}
		}
	})
}
