package demo

import (
	"context"
	"fmt"
)

type object = map[string]any

var (
	materials = []string{"Oak", "Steel", "Linen", "Copper", "Walnut", "Ceramic", "Wool", "Glass", "Cork", "Brass"}
	goods     = []string{"Desk", "Lamp", "Chair", "Kettle", "Shelf", "Mirror", "Bench", "Clock", "Vase", "Stool"}
	clerks    = []string{"ada", "grace", "edsger", "barbara", "tony"}
	reasons   = []string{"changed my mind", "found it cheaper", "ordered twice", "delivery too late"}
	towns     = [][3]string{
		{"Utrecht", "3511 AB", "NL"}, {"Lyon", "69001", "FR"}, {"Graz", "8010", "AT"},
		{"Turku", "20100", "FI"}, {"Porto", "4000-008", "PT"},
	}
)

const (
	productsPerScale = 40
	cartsPerScale    = 400
	// initialStock never runs out, so that no story depends on another.
	initialStock = 500_000
)

// catalogue registers the shop's products, in order, and gives their ids.
func (r *run) catalogue(ctx context.Context) ([]string, error) {
	s := r.story("catalogue", "buyer")
	ids := make([]string, 0, r.scaled(productsPerScale))
	for n := range r.scaled(productsPerScale) {
		name := fmt.Sprintf("%s %s %d-%d", materials[n%10], goods[n/10%10], r.opts.Seed, n+1)
		a, err := s.command(ctx, "POST", "/v1/products", object{
			"sku": fmt.Sprintf("D%d-%04d", r.opts.Seed, n+1), "name": name, "currency": "EUR", "stock": initialStock,
			"price": fmt.Sprintf("%d.%02d", s.between(3, 900), s.pickCents()),
		})
		if err != nil {
			return nil, fmt.Errorf("register the catalogue: %w", err)
		}
		ids = append(ids, a.ID)
	}
	return ids, nil
}

func (s *story) pickCents() int { return []int{0, 49, 90, 95, 99}[s.random.IntN(5)] }

// tending gives a story for each product.
func (r *run) tending(catalogue []string) []func(context.Context) error {
	var stories []func(context.Context) error
	for n, product := range catalogue {
		s := r.story(fmt.Sprintf("product-%d", n+1), clerks[n%len(clerks)])
		stories = append(stories, func(ctx context.Context) error { return s.tend(ctx, product) })
	}
	return stories
}

// shop gives a story for each cart.
func (r *run) shop(catalogue []string) []func(context.Context) error {
	var stories []func(context.Context) error
	for n := range r.scaled(cartsPerScale) {
		s := r.story(fmt.Sprintf("cart-%d", n+1), "web-shop")
		stories = append(stories, func(ctx context.Context) error { return s.shopping(ctx, catalogue, n) })
	}
	return stories
}

// shopping fills a cart and, mostly, orders.
func (s *story) shopping(ctx context.Context, catalogue []string, n int) error {
	created, err := s.command(ctx, "POST", "/v1/carts", object{"customer_id": fmt.Sprintf("c-%d", n%97+1)})
	if err != nil {
		return err
	}
	cart := "/v1/carts/" + created.ID
	lines := s.between(1, 4)
	first := s.random.IntN(len(catalogue))
	held := make(map[string]bool) // fewer than lines where a small catalogue gives a product twice
	for i := range lines {
		product := catalogue[(first+i*7)%len(catalogue)]
		held[product] = true
		if _, err := s.command(ctx, "POST", cart+"/items", object{"product_id": product, "quantity": s.between(1, 5)}); err != nil {
			return err
		}
	}
	if s.chance(30) {
		if _, err := s.command(ctx, "PATCH", cart+"/items/"+catalogue[first], object{"quantity": s.between(1, 9)}); err != nil {
			return err
		}
	}
	if lines > 1 && s.chance(20) && len(held) > 1 {
		if _, err := s.command(ctx, "DELETE", cart+"/items/"+catalogue[first], nil); err != nil {
			return err
		}
	}
	if s.chance(15) {
		return nil // left behind: it expires
	}
	return s.ordering(ctx, cart)
}

func (s *story) ordering(ctx context.Context, cart string) error {
	town := towns[s.random.IntN(len(towns))]
	submitted, err := s.command(ctx, "POST", cart+"/submit", object{"shipping_address": object{
		"street_line_1": fmt.Sprintf("%d Canal Street", s.between(1, 220)),
		"city":          town[0], "postal_code": town[1], "country": town[2],
	}})
	if err != nil {
		return err
	}
	order := "/v1/orders/" + submitted.OrderID
	s.actor = s.pick(clerks)
	switch {
	case s.chance(10):
		_, err = s.command(ctx, "POST", order+"/cancel", object{"reason": s.pick(reasons)})
	case s.chance(80):
		_, err = s.command(ctx, "POST", order+"/ship", object{"tracking_reference": fmt.Sprintf("TR-%08d", s.random.IntN(1e8))})
	}
	return err
}

// tend receives stock and changes some prices.
func (s *story) tend(ctx context.Context, product string) error {
	path := "/v1/products/" + product
	for n := range s.between(1, 3) {
		body := object{"quantity": s.between(10, 200), "reason": fmt.Sprintf("delivery %d", n+1)}
		if _, err := s.command(ctx, "POST", path+"/stock-receipts", body); err != nil {
			return err
		}
	}
	if s.chance(50) {
		price := fmt.Sprintf("%d.%02d", s.between(3, 900), s.pickCents())
		if _, err := s.command(ctx, "PATCH", path, object{"price": price}); err != nil {
			return err
		}
	}
	return nil
}
