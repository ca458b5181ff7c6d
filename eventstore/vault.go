package eventstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"annals/domain"
)

// SubjectKey is the key that seals what events say of one subject.
type SubjectKey struct {
	ID     domain.ID // part of what it seals, so that the key is found again
	Client string    // it opens nothing of another client
	Secret []byte    // 32 bytes; nil: it was destroyed
}

// SubjectKeys keeps the keys, outside the log. Implementations are safe for concurrent use and never cache a key: what
// was destroyed must be gone for every node at once.
type SubjectKeys interface {
	// Current gives the key for a subject's next event, and makes one when there is none.
	Current(ctx context.Context, client string, subject domain.Subject) (SubjectKey, error)
	// Lookup gives the keys with these ids, destroyed ones included; those it doesn't know are missing.
	Lookup(ctx context.Context, ids []domain.ID) (map[domain.ID]SubjectKey, error)
}

// ErrNoSubjectKeys: an event carries personal text, and the store was opened without keys to seal it.
var ErrNoSubjectKeys = errors.New("personal text can't be recorded without subject keys")

// Vault seals personal text before it is appended and opens it for those it is shown to. Between the two, in the log, in
// states, snapshots and read models, it is sealed. A nil Vault seals nothing and shows everything as it is recorded.
//
// Text that was recorded before it was declared personal isn't sealed: it is shown as it is, and can't be erased.
type Vault struct {
	registry *domain.Registry
	keys     SubjectKeys
}

// NewVault makes a vault over the program's events and keys. keys nil: the vault is nil.
func NewVault(registry *domain.Registry, keys SubjectKeys) *Vault {
	if keys == nil {
		return nil
	}
	return &Vault{registry: registry, keys: keys}
}

// OpenEvents opens the data of events, in place. It asks for keys only when one of the events may hold sealed text.
func (v *Vault) OpenEvents(ctx context.Context, events []Envelope) error {
	if v == nil {
		return nil
	}
	recorded := make([]Recorded, 0, 8)
	for i := range events {
		if e := &events[i]; v.mayHold(e.EventType) {
			recorded = append(recorded, Recorded{e.ClientID, e.EventType, e.EventID, &e.Data})
		}
	}
	return v.OpenData(ctx, recorded)
}

// Recorded is an event's data as the log has it, to be opened in place.
type Recorded struct {
	Client    string
	EventType string
	EventID   domain.ID // a text that was sealed for another event is shown as domain.Unreadable
	Data      *json.RawMessage
}

// OpenData opens the data of events, in place.
func (v *Vault) OpenData(ctx context.Context, events []Recorded) error {
	if v == nil {
		return nil
	}
	o := opening{vault: v}
	for _, e := range events {
		if v.mayHold(e.EventType) {
			eachSealed(*e.Data, func(_, _ int, s sealedText) { o.want(s.key) })
		}
	}
	if err := o.fetch(ctx); err != nil || !o.needed() {
		return err
	}
	for _, e := range events {
		if v.mayHold(e.EventType) {
			*e.Data = openData(*e.Data, func(s sealedText) domain.Personal {
				if s.event != e.EventID {
					return domain.Unreadable // moved here from another event
				}
				return o.open(e.Client, s)
			})
		}
	}
	return nil
}

func (v *Vault) mayHold(eventType string) bool {
	d, known := v.registry.EventDefinition(eventType)
	return known && d.Sealed()
}

// OpenValue opens the personal text in a value of any type, such as a state, and gives a copy that shows it. Client is the
// one whose data it is; AllClients doesn't check.
func (v *Vault) OpenValue(ctx context.Context, client string, value any) (any, error) {
	if v == nil || value == nil {
		return value, nil
	}
	fields, err := domain.PersonalFieldsOf(reflect.TypeOf(value))
	if err != nil || fields == nil {
		return value, err
	}
	o := opening{vault: v}
	fields.Each(value, o.wantText)
	if err := o.fetch(ctx); err != nil || !o.needed() {
		return value, err
	}
	return fields.Map(value, o.opener(client)), nil
}

// OpenRows opens the personal text in rows, in place. A row's type without personal text costs nothing but a look at it.
func OpenRows[R any](ctx context.Context, v *Vault, client string, rows []R) error {
	if v == nil || len(rows) == 0 {
		return nil
	}
	fields, err := domain.PersonalFieldsOf(reflect.TypeFor[R]())
	if err != nil || fields == nil {
		return err
	}
	o := opening{vault: v}
	for i := range rows {
		fields.Each(rows[i], o.wantText)
	}
	if err := o.fetch(ctx); err != nil || !o.needed() {
		return err
	}
	for i := range rows {
		rows[i] = fields.Map(rows[i], o.opener(client)).(R)
	}
	return nil
}

// opening collects the keys that are needed, fetches them in one go, and then opens.
type opening struct {
	vault *Vault
	ids   []domain.ID
	keys  map[domain.ID]SubjectKey
}

func (o *opening) want(id domain.ID) {
	if o.keys == nil {
		o.keys = make(map[domain.ID]SubjectKey)
	}
	if _, wanted := o.keys[id]; !wanted {
		o.keys[id] = SubjectKey{}
		o.ids = append(o.ids, id)
	}
}

func (o *opening) wantText(text domain.Personal) {
	if s, ok := parseSealed(string(text)); ok {
		o.want(s.key)
	}
}

func (o *opening) needed() bool { return len(o.ids) > 0 }

func (o *opening) fetch(ctx context.Context) error {
	if !o.needed() {
		return nil
	}
	var err error
	if o.keys, err = o.vault.keys.Lookup(ctx, o.ids); err != nil {
		return fmt.Errorf("look up subject keys: %w", err)
	}
	return nil
}

// open gives a sealed text as it may be shown.
func (o *opening) open(client string, s sealedText) domain.Personal {
	key, known := o.keys[s.key]
	switch {
	case !known, client != AllClients && key.Client != client:
		return domain.Unreadable
	case key.Secret == nil:
		return domain.Erased
	}
	text, err := s.open(key)
	if err != nil {
		return domain.Unreadable
	}
	return text
}

func (o *opening) opener(client string) func(domain.Personal) domain.Personal {
	return func(text domain.Personal) domain.Personal {
		s, ok := parseSealed(string(text))
		if !ok {
			return text
		}
		return o.open(client, s)
	}
}
