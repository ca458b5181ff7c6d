package embedded

import (
	"maps"
	"runtime"
	"slices"
	"strconv"
)

// port only names the socket's file: the server listens on no network address.
const port = 5432

// settings are the server's, in order of precedence: what the package depends on
// can't be changed by cfg.Settings, the rest can.
func settings(cfg Config, socketDir string) []string {
	s := map[string]string{
		"max_connections":      "100",
		"shared_buffers":       "256MB",
		"effective_cache_size": "1GB",
		"random_page_cost":     "1.1", // solid state disks
		"jit":                  "off",
		"wal_level":            "replica",
		"wal_compression":      "on",
		"max_wal_size":         "2GB",
		"min_wal_size":         "160MB",
		"checkpoint_timeout":   "15min",
		"synchronous_commit":   "on",
		"log_line_prefix":      "%m [%p] %q%d ",
		"log_checkpoints":      "off",
		"cluster_name":         "annals",
		"TimeZone":             "UTC",
		"log_timezone":         "UTC",
	}
	if cfg.Throwaway {
		maps.Copy(s, map[string]string{
			"fsync":              "off",
			"synchronous_commit": "off",
			"full_page_writes":   "off",
			"max_connections":    strconv.Itoa(max(500, 40*runtime.NumCPU()*runtime.NumCPU())), // packages × parallel tests
			"shared_buffers":     "128MB",
			"wal_level":          "minimal",
			"max_wal_senders":    "0",
			"wal_compression":    "off",
			"max_wal_size":       "1GB",
			"autovacuum":         "off", // its workers would hold up CREATE and DROP DATABASE
		})
	}
	maps.Copy(s, cfg.Settings)
	maps.Copy(s, map[string]string{
		"listen_addresses":           "",
		"port":                       strconv.Itoa(port),
		"unix_socket_directories":    socketDir,
		"unix_socket_permissions":    "0700",
		"dynamic_shared_memory_type": "mmap", // /dev/shm is 64 MB in a container
		"logging_collector":          "off",
		"log_destination":            "stderr",
	})
	if !cfg.Throwaway {
		// A switch that loses acknowledged events belongs to throwaway servers.
		s["fsync"], s["full_page_writes"] = "on", "on"
	}
	var args []string
	for _, name := range slices.Sorted(maps.Keys(s)) {
		args = append(args, "-c", name+"="+s[name])
	}
	return args
}
