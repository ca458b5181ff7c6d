package projections

import (
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
			LeafVersion: rapid.Int().Draw(t, "leaf"), DataSalt: append([]byte{}, data.Draw(t, "salt")...),
			MetadataSalt: append([]byte{}, data.Draw(t, "salt")...),
		}
		return Event{Seal: seal, Envelope: eventstore.Envelope{
			Position: rapid.Int64().Draw(t, "position"), EventID: id.Draw(t, "event"), EventType: text.Draw(t, "type"),
			SchemaVersion: rapid.Int().Draw(t, "schema"), AggregateType: text.Draw(t, "aggregate"),
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
		frame := beginFrame(rapid.IntRange(0, 5000).Draw(t, "size"))
		for i := range events {
			frame = appendFrame(frame, &events[i])
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
