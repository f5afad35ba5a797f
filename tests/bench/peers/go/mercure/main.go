// The Mercure hub, as the package's documentation has it for Go programs: an HTTP handler.
// Subscribers and publishers show a JWT; updates are private, so the hub checks each against
// the subscriber's topics.
//
//	mercure <port> <file of its history, or - for none> <secret of the JWTs>
package main

import (
	"log"
	"net/http"
	"os"

	"github.com/dunglas/mercure"
	"go.uber.org/zap"
)

func transport(file string, logger mercure.Logger) mercure.Transport {
	if file == "-" {
		return mercure.NewLocalTransport()
	}
	bolt, err := mercure.NewBoltTransport(logger, file, "", 0, mercure.BoltDefaultCleanupFrequency)
	if err != nil {
		log.Fatal(err)
	}
	return bolt
}

func main() {
	config := zap.NewProductionConfig()
	config.Level = zap.NewAtomicLevelAt(zap.ErrorLevel)
	logger, err := config.Build()
	if err != nil {
		log.Fatal(err)
	}
	key := []byte(os.Args[3])
	hub, err := mercure.NewHub(mercure.WithLogger(logger), mercure.WithTransport(transport(os.Args[2], logger)),
		mercure.WithSubscriberJWT(key, "HS256"), mercure.WithPublisherJWT(key, "HS256"))
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], hub))
}
