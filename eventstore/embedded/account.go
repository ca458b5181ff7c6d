package embedded

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// account is whom the server runs as: PostgreSQL refuses to run as root.
type account struct {
	name     string
	uid, gid int
	drop     bool // this process is root and its children must become the account
}

// serverUsers are the users that packages make for PostgreSQL, and the one every system has.
var serverUsers = []string{"postgres", "_postgres", "pgsql", "nobody"}

// chooseAccount is this process's user, unless that is root: then the owner of
// the existing data, else PostgreSQL's own user, else nobody.
func chooseAccount(pgdata string) (account, error) {
	if uid := os.Geteuid(); uid != 0 {
		a := account{name: strconv.Itoa(uid), uid: uid, gid: os.Getegid()}
		if u, err := user.LookupId(a.name); err == nil {
			a.name = u.Username
		}
		return a, nil
	}
	if fi, err := os.Stat(pgdata); err == nil {
		if st, ok := fi.Sys().(*syscall.Stat_t); ok && st.Uid != 0 {
			u, err := user.LookupId(strconv.Itoa(int(st.Uid)))
			if err != nil {
				return account{}, fmt.Errorf("owner of %s: %w", pgdata, err)
			}
			return dropTo(u)
		}
	}
	for _, name := range serverUsers {
		if u, err := user.Lookup(name); err == nil {
			return dropTo(u)
		}
	}
	return account{}, fmt.Errorf("PostgreSQL doesn't run as root, and none of the users %s exists: create one, or run as an ordinary user",
		strings.Join(serverUsers, ", "))
}

func dropTo(u *user.User) (account, error) {
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err := errors.Join(err1, err2); err != nil {
		return account{}, fmt.Errorf("user %s: %w", u.Username, err)
	}
	return account{name: u.Username, uid: uid, gid: gid, drop: true}, nil
}

// attr makes a child that runs as the account, in a session of its own: a Ctrl-C
// at the terminal reaches the application alone, which drains before it stops us.
func (a account) attr() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setsid: true}
	if a.drop {
		attr.Credential = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
	}
	return attr
}

// own hands a file or directory to the account.
func (a account) own(path string) error {
	if !a.drop {
		return nil
	}
	return os.Lchown(path, a.uid, a.gid)
}

// reach checks that the account can enter dir, or as much of it as exists. The
// question is put to the kernel by a child that runs as the account, so that
// access lists and the like count too. target is what is to be reached, for the error.
func (a account) reach(dir, target string) error {
	if !a.drop {
		return nil
	}
	var ancestors []string
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Lstat(d); err == nil {
			ancestors = append([]string{d}, ancestors...)
		}
		if d == filepath.Dir(d) {
			break
		}
	}
	const script = `for d; do [ -x "$d" ] || { printf '%s' "$d"; exit 0; }; done`
	cmd := command("/bin/sh", append([]string{"-c", script, "sh"}, ancestors...)...)
	cmd.Dir = "/"
	cmd.SysProcAttr = a.attr()
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("running as user %s: %w", a.name, err)
	}
	if len(out) > 0 {
		return &UnreachableDirError{Dir: string(out), Path: target, User: a.name}
	}
	return nil
}
