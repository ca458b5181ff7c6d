package projections_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"annals/domain"
	"annals/domain/commerce"
	"annals/domain/manufacturing"
	"annals/eventstore"
	"annals/projections"
)

func allEvents(t testing.TB) *domain.Registry {
	t.Helper()
	r, err := domain.NewRegistry(append(commerce.Definitions(), manufacturing.Definitions()...)...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// sample fills every field of an event, so that each type of member is decoded.
func sample(v reflect.Value, depth int) {
	switch x := v.Addr().Interface().(type) {
	case *time.Time:
		*x = time.Date(2026, 1, 6, 7, 8, 9, 123456000, time.UTC)
		return
	case *domain.ID:
		*x = domain.MustParseID("366b1289-4de8-53bb-a06f-8cbe86ce13d0")
		return
	case *domain.Amount:
		*x = domain.MustAmount("19.90")
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				sample(v.Field(i), depth+1)
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		sample(v.Elem(), depth+1)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			sample(v.Index(i), depth+1)
		}
	case reflect.String:
		v.SetString("ä\"\\</> \u2028")
	case reflect.Int, reflect.Int64:
		v.SetInt(-7)
	case reflect.Bool:
		v.SetBool(true)
	}
}

// FuzzDecode holds the decoder against the registry, which reads by encoding/json: what the decoder accepts, it reads to
// the same event, and what it refuses, the registry refuses.
func FuzzDecode(f *testing.F) {
	registry := allEvents(f)
	decoder := projections.NewDecoder(registry)
	types := registry.EventTypes()
	for i, eventType := range types {
		definition, _ := registry.EventDefinition(eventType)
		full := reflect.New(reflect.TypeOf(definition.Zero())).Elem()
		sample(full, 0)
		for _, e := range []any{full.Interface(), definition.Zero()} {
			data, err := json.Marshal(e)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(uint8(i), data)
			f.Add(uint8(i), []byte(strings.ReplaceAll(string(data), ",", " , ")))
			f.Add(uint8(i), []byte(strings.ToUpper(string(data))))
		}
		for _, odd := range []string{`{}`, `null`, `[]`, `{"quantity":1.0,"quantity":2}`, `{"quantity":1e2}`, `{"name":"\ud800"}`,
			`{"unknown":{"a":[1,{}]}}`, `{"reason":null,"lines":null}`, `{"sku":"a"} `, `{"sku":"a"}x`, `{"idle_since":"2026-01-06T07:08:09+02:00"}`,
			`{"quantity":9223372036854775808}`, `{"sku":"\u0000\n"}`, "{\"sku\":\"\xff\"}"} {
			f.Add(uint8(i), []byte(odd))
		}
	}
	f.Fuzz(func(t *testing.T, index uint8, data []byte) {
		if !json.Valid(data) {
			return // the log's column is json
		}
		eventType := types[int(index)%len(types)]
		definition, _ := registry.EventDefinition(eventType)
		for version := 1; version <= definition.SchemaVersion; version++ {
			events := []projections.Event{{Envelope: eventstore.Envelope{
				EventType: eventType, SchemaVersion: version, Data: data,
			}}}
			hangs := time.AfterFunc(10*time.Second, func() { panic(fmt.Sprintf("hangs: %s %q", eventType, data)) })
			_, err := decoder.Decode(projections.Spec{}, events)
			hangs.Stop()
			want, wantErr := registry.Decode(eventType, version, data)
			if (err == nil) != (wantErr == nil) {
				t.Fatalf("%s %d %q: %v, the registry says %v", eventType, version, data, err, wantErr)
			}
			if err == nil && !reflect.DeepEqual(events[0].Payload, want) {
				if diff := cmp.Diff(want, events[0].Payload); diff != "" {
					t.Fatalf("%s %d %q:\n%s", eventType, version, data, diff)
				}
			}
		}
	})
}

func TestDecodeGivesWhatPrecedesAFailure(t *testing.T) {
	t.Parallel()
	decoder := projections.NewDecoder(registry(t))
	for _, bad := range []int{0, 5, 499, 500, 501, 999} {
		events := make([]projections.Event, 1000)
		for i := range events {
			events[i].Envelope = eventstore.Envelope{
				Position: int64(i + 1), EventType: "tally.counted", SchemaVersion: 1, Data: []byte(`{"n":7}`),
			}
		}
		events[bad].Data = []byte(`{"n":"seven"}`)
		if bad < 900 {
			events[bad+50].Data = []byte(`{"n":"seven"}`)
		}
		complete, err := decoder.Decode(projections.Spec{}, events)
		if complete != bad || err == nil {
			t.Errorf("bad event %d: %d complete, %v", bad, complete, err)
		}
		for i, e := range events[:complete] {
			if e.Payload != (counted{N: 7}) {
				t.Fatalf("event %d is %v", i, e.Payload)
			}
		}
	}
}

// BenchmarkDecode decodes events of an older version beside those of today's.
func BenchmarkDecode(b *testing.B) {
	decoder := projections.NewDecoder(allEvents(b))
	for _, bench := range []struct {
		name string
		e    eventstore.Envelope
	}{
		{"today", eventstore.Envelope{SchemaVersion: 2, Data: []byte(`{"quantity":12,"available_after":99,"reason":"delivery 7"}`)}},
		{"upcast", eventstore.Envelope{SchemaVersion: 1, Data: []byte(`{"quantity":12,"available_after":99}`)}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			e := projections.Event{Envelope: bench.e}
			e.EventType = "product.stock_received"
			b.ReportAllocs()
			for b.Loop() {
				if _, err := decoder.DecodeEvent(&e); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
