package embedded

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"
)

// guardScript waits on a pipe that only the owner holds. The lines say which
// process to look after, and where it works; the end of the pipe without "quit"
// says that the owner has vanished, which even kill -9 can't keep from us.
// Before each signal the process must still be the one meant: a pid is reused.
// $1 is the socket directory, $2 a throwaway data directory or empty, the rest
// are the signals in turn with the tenths of a second that each is given.
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
socket=$1 throwaway=$2
shift 2
if [ -n "$pid" ]; then
	for step; do
		ours || break
		kill -"${step%:*}" "$pid"
		left=${step#*:}
		while [ "$left" -gt 0 ] && ours; do
			sleep 0.1
			left=$((left - 1))
		done
	done
fi
rm -rf -- "$socket"
[ -z "$throwaway" ] || rm -rf -- "$throwaway"
`

// guard stops the server when this process vanishes.
type guard struct {
	account      account
	socketDir    string
	throwawayDir string // removed with the server; empty = the data stays
	steps        []stopStep
	log          *slog.Logger

	mu      sync.Mutex // guards the rest
	cmd     *exec.Cmd  // nil = dismissed
	pipe    io.WriteCloser
	done    chan struct{} // closed once cmd has ended
	watched string        // the last line sent, for a successor
	early   int           // guards in a row that died within their first second
}

// mostEarlyDeaths is how many guards in a row may die at once before no successor is tried:
// one may be killed by a stranger, each is a machine on which none can live.
const mostEarlyDeaths = 5

// start launches the guard process.
func (g *guard) start() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.launch()
}

func (g *guard) launch() error {
	args := []string{"-c", guardScript, "annals-guard", g.socketDir, g.throwawayDir}
	for _, step := range g.steps {
		args = append(args, fmt.Sprintf("%s:%d", step.name, step.grace/(100*time.Millisecond)))
	}
	cmd := command("/bin/sh", args...)
	cmd.Dir = "/"
	cmd.SysProcAttr = g.account.attr()
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting the guard process: %w", err)
	}
	g.cmd, g.pipe, g.done = cmd, pipe, make(chan struct{})
	go g.mind(cmd, g.done)
	if _, err := io.WriteString(pipe, g.watched); err != nil {
		return fmt.Errorf("guard process: %w", err)
	}
	return nil
}

// mind replaces a guard that was killed.
func (g *guard) mind(cmd *exec.Cmd, done chan struct{}) {
	started := time.Now()
	err := cmd.Wait()
	close(done)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cmd != cmd {
		return
	}
	g.log.Warn("the database's guard process died", "status", fmt.Sprint(err))
	if time.Since(started) < time.Second {
		g.early++
	} else {
		g.early = 0
	}
	if g.early >= mostEarlyDeaths {
		g.log.Error("the guard process can't be kept: the database server will outlive this process if that is killed")
		return
	}
	if err := g.launch(); err != nil {
		g.log.Error("the guard process can't be replaced", "error", err)
	}
}

// watch tells the guard which process to stop, before that process may do anything.
func (g *guard) watch(pid int, dir string) { g.tell(strconv.Itoa(pid) + " " + dir + "\n") }

// forget tells the guard that the process is gone.
func (g *guard) forget() { g.tell("none\n") }

// tell sends a line, or leaves it to the successor of a guard that has just died.
func (g *guard) tell(line string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.watched = line
	io.WriteString(g.pipe, line)
}

// dismiss ends the guard without its doing anything.
func (g *guard) dismiss() {
	g.mu.Lock()
	done := g.done
	g.cmd = nil
	io.WriteString(g.pipe, "quit\n")
	g.pipe.Close()
	g.mu.Unlock()
	<-done
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
