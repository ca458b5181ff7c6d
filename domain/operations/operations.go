// Package operations records what happens to the system itself: changes of the server the log lives on, what operators
// do with projections, API keys, the keys that sign the log's checkpoints, and who reads the log. Its streams belong to
// the reserved client of the system's own events.
package operations

import (
	"time"

	"annals/domain"
)

// namespace is where the ids of this package's streams are derived: there is one log, and a projection is known by name.
var namespace = domain.MustParseID("6f1f2a52-1f0e-5c3b-9a57-2f6a4d1c8e90")

// LogID is the id of the log's own stream.
func LogID() domain.ID { return domain.NameID(namespace, "log") }

// ProjectionID is the id of a projection's stream, over all its versions.
func ProjectionID(name string) domain.ID { return domain.NameID(namespace, "projection/"+name) }

// APIKeyID is the id of an API key's stream.
func APIKeyID(keyID string) domain.ID { return domain.NameID(namespace, "api_key/"+keyID) }

// SigningKeyID is the id of the stream of the keys that sign the log's checkpoints.
func SigningKeyID() domain.ID { return domain.NameID(namespace, "signing_key") }

// AuditDayID is the id of the stream of what one actor read of one client on one day (UTC).
func AuditDayID(client, actor string, day time.Time) domain.ID {
	return domain.NameID(namespace, "audit/"+client+"/"+day.UTC().Format(time.DateOnly)+"/"+actor)
}

// Definitions registers every aggregate and event of the context.
func Definitions() []domain.Definition {
	return []domain.Definition{
		{Aggregate: Log, Events: []domain.EventDefinition{domain.DefineEvent[IncarnationChanged]()}},
		{Aggregate: Projection, Events: []domain.EventDefinition{
			domain.DefineEvent[Paused](),
			domain.DefineEvent[Resumed](),
			domain.DefineEvent[Rebuilt](),
			domain.DefineEvent[FailureSkipped](),
			domain.DefineEvent[FailureRetried](),
		}},
		{Aggregate: APIKey, Events: []domain.EventDefinition{
			domain.DefineEvent[APIKeyCreated](),
			domain.DefineEvent[APIKeyRotated](),
			domain.DefineEvent[APIKeyRevoked](),
		}},
		{Aggregate: SigningKey, Events: []domain.EventDefinition{
			domain.DefineEvent[SigningKeyCreated](), domain.DefineEvent[SigningKeyRotated](),
		}},
		{Aggregate: Audit, Events: []domain.EventDefinition{
			domain.DefineEvent[LogRead](),
			domain.DefineEvent[ExportStarted](),
			domain.DefineEvent[Exported](),
		}},
	}
}
