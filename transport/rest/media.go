package rest

import (
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// Media types that are served.
const (
	mediaJSON   = "application/json"
	mediaNDJSON = "application/x-ndjson"
	mediaSSE    = "text/event-stream"
	mediaCSV    = "text/csv"
	mediaHTML   = "text/html"
	mediaYAML   = "application/yaml"
	mediaText   = "text/plain"
	mediaBytes  = "application/octet-stream"

	mediaCloudEvents = "application/cloudevents-batch+json"
)

// negotiate chooses what to answer with: the offer that the Accept header prefers, the first one when it has no
// preference. Ranges that don't parse match nothing. ok is false when no offer is acceptable.
func negotiate(accept, offers []string) (offer string, ok bool) {
	if len(accept) == 0 || len(accept) == 1 && (accept[0] == "*/*" || accept[0] == offers[0] || accept[0] == "") {
		return offers[0], true
	}
	ranges := mediaRanges(accept)
	best := 0.0
	for _, candidate := range offers {
		if q := quality(ranges, candidate); q > best {
			best, offer = q, candidate
		}
	}
	return offer, best > 0
}

type mediaRange struct {
	name    string // type/subtype, type/* or */*
	quality float64
}

func mediaRanges(accept []string) []mediaRange {
	var ranges []mediaRange
	for _, element := range strings.Split(strings.Join(accept, ","), ",") {
		name, parameters, err := mime.ParseMediaType(element)
		if err != nil || !strings.Contains(name, "/") {
			continue
		}
		r := mediaRange{name: name, quality: 1}
		if q, sent := parameters["q"]; sent {
			if r.quality, err = strconv.ParseFloat(q, 64); err != nil || r.quality < 0 || r.quality > 1 {
				continue
			}
		}
		ranges = append(ranges, r)
	}
	return ranges
}

// quality gives the weight of the most specific range that holds the media type; 0 when none does.
func quality(ranges []mediaRange, media string) float64 {
	general, _, _ := strings.Cut(media, "/")
	for _, name := range []string{media, general + "/*", "*/*"} {
		for _, r := range ranges {
			if r.name == name {
				return r.quality
			}
		}
	}
	return 0
}

// checkContentType refuses a body that isn't JSON in UTF-8, plain as it is.
func checkContentType(h http.Header) error {
	wrong := func() error {
		return newProblem("unsupported-media-type", "the body must be sent as Content-Type: application/json, in UTF-8")
	}
	values := h["Content-Type"]
	if len(values) != 1 {
		return wrong()
	}
	if values[0] != mediaJSON {
		name, parameters, err := mime.ParseMediaType(values[0])
		charset, hasCharset := parameters["charset"]
		if err != nil || name != mediaJSON || hasCharset && !strings.EqualFold(charset, "utf-8") {
			return wrong()
		}
	}
	if encoding := h.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return newProblem("unsupported-media-type", "the body must not be compressed")
	}
	return nil
}
