package embedded

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
)

// guardScript waits on a pipe that only the owner holds. The lines say which
// process to look after, and where it works; the end of the pipe without "quit"
// says that the owner has vanished, which even kill -9 can't keep from us.
// Before each signal the process must still be the one meant: a pid is reused.
// $1 is the socket directory, $2 a throwaway data directory or empty.
const guardScript = `
trap '' HUP INT TERM
pid= dir=
while IFS= read -r line; do
	case $line in
	quit) exit 0 ;;
	none) pid= ;;
	*) pid=${line%% *} dir=${line#* } ;;
	esac
done
ours() {
	kill -0 "$pid" 2>/dev/null || return 1
	if [ -d /proc/self ]; then
		[ "$(readlink "/proc/$pid/cwd")" = "$dir" ]
	else
		case $(ps -o command= -p "$pid") in *postgres*|*initdb*) ;; *) return 1 ;; esac
	fi
}
if [ -n "$pid" ]; then
	for step in INT:200 QUIT:50 KILL:50; do
		ours || break
		kill -"${step%:*}" "$pid"
		left=${step#*:}
		while [ "$left" -gt 0 ] && ours; do
			sleep 0.1
			left=$((left - 1))
		done
	done
fi
rm -rf -- "$1"
[ -z "$2" ] || rm -rf -- "$2"
`

// guard stops the server when this process vanishes.
type guard struct {
	account      account
	socketDir    string
	throwawayDir string // removed with the server; empty = the data stays

	mu      sync.Mutex // guards the rest
	cmd     *exec.Cmd
	pipe    io.WriteCloser
	watched string // the last line sent, for a successor
}

// start launches the guard process.
func (g *guard) start() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.launch()
}

func (g *guard) launch() error {
	cmd := command("/bin/sh", "-c", guardScript, "annals-guard", g.socketDir, g.throwawayDir)
	cmd.Dir = "/"
	cmd.SysProcAttr = g.account.attr()
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting the guard process: %w", err)
	}
	g.cmd, g.pipe = cmd, pipe
	if g.watched != "" {
		if _, err := io.WriteString(pipe, g.watched); err != nil {
			return fmt.Errorf("guard process: %w", err)
		}
	}
	return nil
}

// watch tells the guard which process to stop, before that process may do
// anything. A guard that has died is replaced.
func (g *guard) watch(pid int, dir string) error { return g.tell(strconv.Itoa(pid) + " " + dir + "\n") }

// forget tells the guard that the process is gone.
func (g *guard) forget() error { return g.tell("none\n") }

func (g *guard) tell(line string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.watched = line
	if _, err := io.WriteString(g.pipe, line); err == nil {
		return nil
	}
	g.pipe.Close()
	g.cmd.Wait()
	return g.launch()
}

// dismiss ends the guard without its doing anything.
func (g *guard) dismiss() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cmd == nil {
		return
	}
	io.WriteString(g.pipe, "quit\n")
	g.pipe.Close()
	g.cmd.Wait()
	g.cmd = nil
}

// command is an exec.Cmd with a clean environment: nothing of ours (PGDATA,
// LC_ALL, LD_PRELOAD, …) may change what the server does.
func command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env = []string{"PATH=" + searchPath(), "LC_ALL=C", "TZ=UTC"}
	return cmd
}

func searchPath() string {
	if p := os.Getenv("PATH"); p != "" {
		return p
	}
	return "/usr/local/bin:/usr/bin:/bin"
}
