package annals_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

// headings gives the anchors of a document's headings, as GitHub makes them.
func headings(text string) map[string]bool {
	anchors := make(map[string]bool)
	for _, heading := range regexp.MustCompile("(?m)^#+ +(.*)$").FindAllStringSubmatch(text, -1) {
		kept := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, heading[1])
		anchors[kept] = true
	}
	return anchors
}

// Links between documents lead to files that there are, and to headings that these have.
func TestLinksOfTheDocumentsLeadSomewhere(t *testing.T) {
	t.Parallel()
	code := regexp.MustCompile("(?ms)^ *```.*?^ *```|`[^`\n]*`")
	documents := make(map[string]string)
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md", "*/README.md"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			documents[name] = string(text)
		}
	}
	links := 0
	for name, text := range documents {
		for _, link := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllStringSubmatch(code.ReplaceAllString(text, "code"), -1) {
			file, anchor, _ := strings.Cut(link[1], "#")
			if strings.Contains(file, "://") {
				continue
			}
			links++
			target := name
			if file != "" {
				target = filepath.Join(filepath.Dir(name), file)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s, which there isn't", name, link[1])
			} else if anchor != "" && !headings(documents[target])[anchor] {
				t.Errorf("%s links to %s, and there is no such heading", name, link[1])
			}
		}
	}
	if links < 40 {
		t.Errorf("only %d links were found", links)
	}
}

// The threat model names the test of each defence, and the list of promises that of each promise: one that was renamed or
// removed must be missed there.
func TestDocumentsNameTestsThatExist(t *testing.T) {
	t.Parallel()
	var tests bytes.Buffer
	err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		tests.Write(source)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for document, least := range map[string]int{"docs/security.md": 30, "CONTRIBUTING.md": 20} {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		named := regexp.MustCompile("`((?:Test|Fuzz)[A-Z][A-Za-z]*)`").FindAllStringSubmatch(string(text), -1)
		if len(named) < least {
			t.Errorf("%s names only %d tests", document, len(named))
		}
		for _, name := range named {
			if !bytes.Contains(tests.Bytes(), []byte("func "+name[1]+"(")) {
				t.Errorf("%s names %s, which doesn't exist", document, name[1])
			}
		}
	}
}
