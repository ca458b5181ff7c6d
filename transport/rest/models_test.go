package rest_test

import (
	"annals/eventstore"
	"annals/projections"
	"annals/projections/auditlog"
	"annals/projections/carts"
	"annals/projections/orders"
	"annals/projections/products"
	"annals/transport/rest"
)

// readModels are those that the routes show.
func readModels() []projections.Projector {
	return []projections.Projector{auditlog.New(), products.New(), carts.New(), orders.New()}
}

// queries gives the interface what reads them.
func queries(c *rest.Config, tenants *eventstore.Tenants) {
	c.AuditLog = auditlog.NewQueries(tenants)
	c.Products, c.Carts, c.Orders = products.NewQueries(tenants), carts.NewQueries(tenants), orders.NewQueries(tenants)
}
