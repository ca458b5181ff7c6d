package projections

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"annals/domain"
	"annals/eventstore"
)

func TestFrameKeepsEveryField(t *testing.T) {
	t.Parallel()
	id := rapid.Custom(func(t *rapid.T) (id domain.ID) {
		copy(id[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		return id
	})
	moment := rapid.Custom(func(t *rapid.T) time.Time { return time.UnixMicro(rapid.Int64().Draw(t, "time")).UTC() })
	text, data := rapid.String(), rapid.SliceOfN(rapid.Byte(), 0, 40)
	event := rapid.Custom(func(t *rapid.T) Event {
		seal := Seal{
			LeafVersion: int(rapid.Int16().Draw(t, "leaf")), DataSalt: append([]byte{}, data.Draw(t, "salt")...),
			MetadataSalt: append([]byte{}, data.Draw(t, "salt")...),
		}
		return Event{Seal: seal, Envelope: eventstore.Envelope{
			Position: rapid.Int64().Draw(t, "position"), EventID: id.Draw(t, "event"), EventType: text.Draw(t, "type"),
			SchemaVersion: int(rapid.Int32().Draw(t, "schema")), AggregateType: text.Draw(t, "aggregate"),
			AggregateID: id.Draw(t, "stream"), AggregateVersion: rapid.Int64().Draw(t, "version"),
			ClientID: text.Draw(t, "client"), ActorID: text.Draw(t, "actor"), OccurredAt: moment.Draw(t, "occurred"),
			RecordedAt: moment.Draw(t, "recorded"), CorrelationID: text.Draw(t, "correlation"),
			CausationID: text.Draw(t, "causation"), RequestID: text.Draw(t, "request"),
			Data: append([]byte{}, data.Draw(t, "data")...), Metadata: append([]byte{}, data.Draw(t, "metadata")...),
		}}
	})
	rapid.Check(t, func(t *rapid.T) {
		events := rapid.SliceOfN(event, 0, 5).Draw(t, "events")
		from, to := rapid.Int64().Draw(t, "from"), rapid.Int64().Draw(t, "to")
		columns := rapid.SampledFrom([]int{leanColumns, fullColumns, len(eventColumns)}).Draw(t, "columns")
		frame := beginFrame(rapid.IntRange(0, 5000).Draw(t, "size"))
		for i := range events {
			e := &events[i]
			frame = appendFrame(frame, appendRecord(nil, e, columns))
			if columns < len(eventColumns) {
				e.Seal = Seal{}
			}
			if columns < fullColumns {
				e.EventID, e.RecordedAt, e.ActorID, e.Metadata = domain.ID{}, time.Time{}, "", nil
				e.CorrelationID, e.CausationID, e.RequestID = "", "", ""
			}
		}
		endFrame(frame, from, to, len(events))
		page, err := readFrame(frame, make([]Event, rapid.IntRange(0, 9).Draw(t, "before")))
		if err != nil || page.From != from || page.To != to || len(page.Events) != len(events) {
			t.Fatalf("%+v: %v", page, err)
		}
		for i, e := range page.Events {
			if diff := cmp.Diff(events[i], e); diff != "" {
				t.Fatal(diff)
			}
		}
		// A part of a frame is an error.
		if len(frame) > 1 {
			if _, err := readFrame(frame[:rapid.IntRange(0, len(frame)-1).Draw(t, "cut")], nil); err == nil {
				t.Fatal("a part of a frame was read")
			}
		}
	})
}

// FuzzRecord: bytes that aren't an event's record are an error, never a panic; those that are give the same again.
func FuzzRecord(f *testing.F) {
	for _, columns := range []int{leanColumns, fullColumns, len(eventColumns)} {
		valid := appendRecord(nil, &Event{Envelope: eventstore.Envelope{Position: 7, EventType: "cart.created", Data: []byte(`{}`)}}, columns)
		f.Add(valid)
		f.Add(valid[:len(valid)-1])
		f.Add(append(append([]byte{}, valid...), 0))
		f.Add(append(append([]byte{}, valid[:4]...), 0, 0, 0, 0, 255, 255, 255, 255))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var e, again Event
		if err := ReadRecord(data, &e, make(Names)); err != nil {
			if !errors.Is(err, errRecord) {
				t.Error(err)
			}
			return
		}
		position, err := recordPosition(data)
		if err != nil || position != e.Position {
			t.Errorf("position %d, error %v; the event's is %d", position, err, e.Position)
		}
		written := appendRecord(nil, &e, int(data[3]))
		if len(written) != len(data) {
			t.Errorf("%d bytes were read from %d", len(written), len(data))
		}
		if err := ReadRecord(written, &again, make(Names)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(e, again); diff != "" {
			t.Error(diff)
		}
	})
}
