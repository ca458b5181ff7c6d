package annals_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Each package says what it is for, and each exported name what it means: callers read that, and not the code.
func TestExportedNamesAreDocumented(t *testing.T) {
	t.Parallel()
	names := 0
	for _, p := range listPackages(t) {
		fset := token.NewFileSet()
		documented := false
		for _, name := range p.GoFiles {
			file, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			documented = documented || file.Doc.Text() != ""
			for _, d := range file.Decls {
				for _, e := range exported(d) {
					if names++; !e.documented {
						t.Errorf("%s: %s has no doc comment", fset.Position(e.name.Pos()), e.name.Name)
					}
				}
			}
		}
		if !documented && len(p.GoFiles) > 0 {
			t.Errorf("no file of %s has a package comment", p.ImportPath)
		}
	}
	if names < 500 {
		t.Errorf("only %d exported names were found", names)
	}
}

// exportedName is one that other packages can use.
type exportedName struct {
	name       *ast.Ident
	documented bool
}

// exported gives the exported names of a declaration, those of methods only where the type is exported. A comment before a
// group is one of all its names, and one behind a name on its line is as good as one above.
func exported(d ast.Decl) (list []exportedName) {
	add := func(documented bool, names ...*ast.Ident) {
		for _, n := range names {
			if n.IsExported() {
				list = append(list, exportedName{n, documented})
			}
		}
	}
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil || ast.IsExported(receiver(d.Recv.List[0].Type)) {
			add(d.Doc.Text() != "", d.Name)
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				add(slices.ContainsFunc([]*ast.CommentGroup{d.Doc, s.Doc}, commented), s.Name)
			case *ast.ValueSpec:
				add(slices.ContainsFunc([]*ast.CommentGroup{d.Doc, s.Doc, s.Comment}, commented), s.Names...)
			}
		}
	}
	return list
}

func commented(c *ast.CommentGroup) bool { return strings.TrimSpace(c.Text()) != "" }

// receiver gives the name of a method's type.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}
