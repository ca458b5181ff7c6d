package rest_test

import (
	"annals/eventstore"
	"annals/eventstore/integrity"
	"annals/projections"
	"annals/projections/auditlog"
	"annals/projections/carts"
	"annals/projections/holds"
	"annals/projections/inspections"
	"annals/projections/kpialerts"
	"annals/projections/kpis"
	"annals/projections/kpithresholds"
	"annals/projections/orders"
	"annals/projections/policies"
	"annals/projections/policies/notifications"
	"annals/projections/productionentries"
	"annals/projections/products"
	"annals/projections/webhooks"
	"annals/projections/workorders"
	"annals/transport/rest"
)

// readModels are those that the routes show.
func readModels() []projections.Projector {
	return []projections.Projector{
		auditlog.New(), products.New(), carts.New(), orders.New(), workorders.New(), productionentries.New(),
		inspections.New(), holds.New(), kpis.New(), kpithresholds.New(), kpialerts.New(), webhooks.New(),
	}
}

// queries gives the interface what reads them.
func queries(c *rest.Config, tenants *eventstore.Tenants) {
	c.AuditLog, c.Records = auditlog.NewQueries(tenants), integrity.NewRecords(tenants)
	c.Products, c.Carts, c.Orders = products.NewQueries(tenants), carts.NewQueries(tenants), orders.NewQueries(tenants)
	c.WorkOrders, c.ProductionEntries = workorders.NewQueries(tenants), productionentries.NewQueries(tenants)
	c.Inspections, c.Holds = inspections.NewQueries(tenants), holds.NewQueries(tenants)
	c.KPIs, c.Thresholds, c.Alerts = kpis.NewQueries(tenants), kpithresholds.NewQueries(tenants), kpialerts.NewQueries(tenants)
	c.Webhooks, c.DeadLetters = webhooks.NewQueries(tenants), notifications.NewDeadLetters(tenants)
}

// plantPolicies are those of the shop floor.
func plantPolicies(b *bench) []projections.PolicyHandler {
	tenants := b.store.Tenants
	return []projections.PolicyHandler{
		policies.NewCloseOnShip(b.store.Runner, b.logger),
		policies.NewKPIWatch(policies.KPIWatchConfig{
			Figures: kpis.NewQueries(tenants), Thresholds: kpithresholds.NewQueries(tenants), Commands: b.store.Runner,
			WaitFor: b.group.WaitFor, Logger: b.logger,
		}),
	}
}

// allPolicies are those of the shop floor, and the one that queues notifications.
func allPolicies(b *bench) []projections.PolicyHandler {
	return append(plantPolicies(b), notifications.New(notifications.Config{
		Webhooks: webhooks.NewQueries(b.store.Tenants), Queue: notifications.NewQueue(b.store.Commands), Registry: b.registry,
		WaitFor: b.group.WaitFor,
	}))
}
