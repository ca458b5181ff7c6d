package eventstore

import (
	"testing"

	"pgregory.net/rapid"

	"annals/domain"
)

func cacheID(n int) domain.ID { return domain.ID{14: byte(n >> 8), 15: byte(n)} }

func cached(n int, version int64, size int) *cachedStream {
	return &cachedStream{id: cacheID(n), Loaded: domain.Loaded{Version: version}, size: size}
}

// The cache behaves as a list of streams in the order of use, cut at its bounds.
func TestCacheAgainstAModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		maxEntries := rapid.IntRange(1, 6).Draw(t, "entries")
		maxBytes := rapid.IntRange(1, 60).Draw(t, "bytes")
		cache := newStateCache(maxEntries, maxBytes)
		var model []*cachedStream // the most recently used first
		find := func(id domain.ID) int {
			for i, s := range model {
				if s.id == id {
					return i
				}
			}
			return -1
		}
		remove := func(i int) { model = append(model[:i:i], model[i+1:]...) }
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				s := cached(rapid.IntRange(0, 9).Draw(t, "id"), rapid.Int64Range(1, 4).Draw(t, "version"), rapid.IntRange(0, 30).Draw(t, "size"))
				cache.put(s, cache.generation.Load())
				if i := find(s.id); i >= 0 {
					if model[i].Version > s.Version {
						return
					}
					remove(i)
				}
				model = append([]*cachedStream{s}, model...)
				for bytes := 0; ; bytes = 0 {
					for _, m := range model {
						bytes += m.size
					}
					if len(model) <= maxEntries && bytes <= maxBytes {
						return
					}
					model = model[:len(model)-1]
				}
			},
			"get": func(t *rapid.T) {
				id := cacheID(rapid.IntRange(0, 9).Draw(t, "id"))
				got, i := cache.get(id), find(id)
				switch {
				case i < 0 && got != nil:
					t.Fatalf("the cache holds %v", got)
				case i >= 0:
					if got != model[i] {
						t.Fatalf("got %v, want %v", got, model[i])
					}
					s := model[i]
					remove(i)
					model = append([]*cachedStream{s}, model...)
				}
			},
			"evict": func(t *rapid.T) {
				if len(model) == 0 {
					return
				}
				i := rapid.IntRange(0, len(model)-1).Draw(t, "which")
				other := *model[i]
				cache.evict(&other) // not the very value
				cache.evict(model[i])
				remove(i)
			},
			"forget": func(t *rapid.T) {
				before := cache.generation.Load()
				cache.forget()
				cache.put(cached(1, 1, 0), before) // read before, put after: ignored
				model = nil
			},
			"": func(t *rapid.T) {
				bytes := 0
				for _, m := range model {
					bytes += m.size
				}
				if n, b := cache.usage(); n != len(model) || b != bytes {
					t.Fatalf("%d streams of %d bytes, want %d of %d", n, b, len(model), bytes)
				}
			},
		})
	})
}

func TestCacheIsSharded(t *testing.T) {
	t.Parallel()
	cache := newStateCache(64*cacheShards, 1<<30)
	for n := range 64 * cacheShards {
		cache.put(cached(n, 1, 1), 0)
	}
	if n, bytes := cache.usage(); n != 64*cacheShards || bytes != n || len(cache.shards) != cacheShards {
		t.Errorf("%d streams, %d bytes in %d shards", n, bytes, len(cache.shards))
	}
	for n := range 64 * cacheShards {
		if cache.get(cacheID(n)) == nil {
			t.Fatalf("stream %d is gone", n)
		}
	}
}
