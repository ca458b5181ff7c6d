package domain

import (
	"errors"
	"fmt"
)

// Code names a reason for refusing a command. Codes are stable: clients see them as problem types.
type Code string

// The codes a command can be refused with.
const (
	CodeNotFound             Code = "not-found"
	CodeValidation           Code = "validation-failed"
	CodeVersionMismatch      Code = "version-mismatch"
	CodeConcurrentChange     Code = "concurrent-modification"
	CodeInsufficientStock    Code = "insufficient-stock"
	CodeDuplicateSKU         Code = "duplicate-sku"
	CodeDuplicateName        Code = "duplicate-name"
	CodeDuplicateNumber      Code = "duplicate-number"
	CodeProductInUse         Code = "product-in-use"
	CodeProductDiscontinued  Code = "product-discontinued"
	CodeCartClosed           Code = "cart-closed"
	CodeCartEmpty            Code = "cart-empty"
	CodeCurrencyMismatch     Code = "currency-mismatch"
	CodeOrderClosed          Code = "order-closed"
	CodeInvalidTransition    Code = "invalid-transition"
	CodeQCApprovalRequired   Code = "qc-approval-required"
	CodeOutputRequired       Code = "output-required"
	CodeHoldClosed           Code = "hold-closed"
	CodeIdempotencyKeyReused Code = "idempotency-key-reused"
)

// FieldError says what is wrong with one member of a command. Pointer is a JSON pointer into the request (RFC 6901).
type FieldError struct {
	Pointer string `json:"pointer"`
	Detail  string `json:"detail"`
}

// Error is a refusal: the command was understood, was wrong or came at the wrong time, and changed nothing. Detail is
// written for the caller and never holds anything internal.
type Error struct {
	Code   Code
	Detail string       // one sentence without a full stop
	Fields []FieldError // only with CodeValidation
}

// Error gives the code and the detail.
func (e *Error) Error() string { return string(e.Code) + ": " + e.Detail }

// Refuse makes a refusal with a detail formatted as by fmt.Sprintf.
func Refuse(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// Invalid makes a validation refusal for one member.
func Invalid(pointer, format string, args ...any) *Error {
	return InvalidFields([]FieldError{{Pointer: pointer, Detail: fmt.Sprintf(format, args...)}})
}

// InvalidFields makes a validation refusal for several members.
func InvalidFields(fields []FieldError) *Error {
	return &Error{Code: CodeValidation, Detail: "the request has values that are not allowed", Fields: fields}
}

// NotFound refuses a command on something that doesn't exist for this client.
func NotFound(what string, id ID) *Error {
	return Refuse(CodeNotFound, "there is no %s %s", what, id)
}

// CodeOf gives the code of a refusal anywhere in err's chain, or "" when err isn't a refusal.
func CodeOf(err error) Code {
	var refusal *Error
	if errors.As(err, &refusal) {
		return refusal.Code
	}
	return ""
}
