// Package commerce holds the use cases over products, carts and orders. Each takes a unit of work, judges its command in
// the order values, existence, precondition, status, other conditions, and collects the events of all streams it
// changes; whoever called it appends them at once. A refusal is a *domain.Error and leaves nothing behind.
package commerce

import (
	"annals/domain"
	"annals/domain/commerce/cart"
	"annals/domain/commerce/order"
	"annals/domain/commerce/product"
)

// Kinds of unique claims.
const (
	ClaimSKU  = "product.sku"
	ClaimName = "product.name"
)

// DefaultCurrency is that of a product registered without one.
const DefaultCurrency = "USD"

// Definitions registers every aggregate and event of the context.
func Definitions() []domain.Definition {
	return []domain.Definition{product.Definition(), cart.Definition(), order.Definition()}
}
