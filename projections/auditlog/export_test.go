package auditlog

// ListSpan is List with another span.
var ListSpan = (*Queries).list
