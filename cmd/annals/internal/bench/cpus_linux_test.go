package bench

import (
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"testing"
)

var allowedList = regexp.MustCompile(`Cpus_allowed_list:\s*(\S+)`)

// worksOn reads where a process or a thread may work; "" of one that has ended.
func worksOn(path string) string {
	status, err := os.ReadFile(path + "/status")
	if err != nil {
		return ""
	}
	return string(allowedList.FindSubmatch(status)[1])
}

func TestProcessesWorkWhereTheyAreTold(t *testing.T) {
	all, err := allowedCPUs()
	if err != nil {
		t.Fatal(err)
	}
	first, second, _ := all.halves()
	child := exec.Command("sh", "-c", "sleep 600 & echo; wait")
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := startingOn(first, child.Start); err != nil {
		t.Fatal(err)
	}
	pid := child.Process.Pid
	t.Cleanup(func() {
		for _, p := range append(childrenOf(pid), pid) {
			if process, err := os.FindProcess(p); err == nil {
				_ = process.Kill()
			}
		}
		_ = child.Wait()
	})
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	family := append(childrenOf(pid), pid)
	if len(family) != 2 {
		t.Fatalf("processes: %v", family)
	}
	for _, want := range []cpuSet{first, second} {
		for _, p := range family {
			if got := worksOn("/proc/" + strconv.Itoa(p)); got != want.String() {
				t.Errorf("process %d works on %s, want %v", p, got, want)
			}
		}
		if err := pinTree(pid, second); err != nil {
			t.Fatal(err)
		}
	}
	if err := pinSelf(second); err != nil {
		t.Fatal(err)
	}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, thread := range threads {
		if got := worksOn("/proc/self/task/" + thread.Name()); got != second.String() && got != "" {
			t.Errorf("thread %s works on %s, want %v", thread.Name(), got, second)
		}
	}
	if err := pinSelf(all); err != nil {
		t.Fatal(err)
	}
}
