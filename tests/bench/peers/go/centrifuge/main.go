// A server with Centrifuge, the library that Centrifugo is made of: streams over its SSE
// handler, which subscribes the connection to one channel (`thread`) from the server's side,
// where its JWT grants that; the Redis broker between them and POST /publish, which keeps a
// history, so that events have offsets.
//
//	centrifuge <port> <port of Redis> <secret of the JWTs>
package main

import (
	"context"
	"io"
	"log"
	"net/http"
	"os"
	"path"
	"strings"
	"time"

	"github.com/centrifugal/centrifuge"
	"github.com/golang-jwt/jwt/v5"
)

const (
	keptEvents = 20_000
	keptFor    = 24 * time.Hour
)

type claims struct {
	jwt.RegisteredClaims
	Threadcast struct {
		Read []string `json:"read"`
	} `json:"threadcast"`
}

type threadKey struct{}

func grants(c *claims, thread string) bool {
	for _, pattern := range c.Threadcast.Read {
		if ok, _ := path.Match(pattern, thread); ok {
			return true
		}
	}
	return false
}

// Lets in who may read the thread, and notes which it is.
func authorized(secret []byte, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		thread := r.URL.Query().Get("thread")
		var c claims
		_, err := jwt.ParseWithClaims(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), &c,
			func(*jwt.Token) (any, error) { return secret, nil }, jwt.WithValidMethods([]string{"HS256"}))
		if err != nil || !grants(&c, thread) {
			http.Error(w, "forbidden", http.StatusForbidden)
			return
		}
		ctx := centrifuge.SetCredentials(r.Context(), &centrifuge.Credentials{UserID: c.Subject})
		next.ServeHTTP(w, r.WithContext(context.WithValue(ctx, threadKey{}, thread)))
	})
}

func connecting(ctx context.Context, _ centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
	thread := ctx.Value(threadKey{}).(string)
	return centrifuge.ConnectReply{Subscriptions: map[string]centrifuge.SubscribeOptions{
		thread: {EnablePositioning: true}}}, nil
}

func publish(node *centrifuge.Node) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(r.Body)
		if err == nil {
			_, err = node.Publish(r.URL.Query().Get("thread"), data, centrifuge.WithHistory(keptEvents, keptFor))
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	node, err := centrifuge.New(centrifuge.Config{})
	check(err)
	shard, err := centrifuge.NewRedisShard(node, centrifuge.RedisShardConfig{Address: "127.0.0.1:" + os.Args[2]})
	check(err)
	broker, err := centrifuge.NewRedisBroker(node, centrifuge.RedisBrokerConfig{Shards: []*centrifuge.RedisShard{shard}})
	check(err)
	node.SetBroker(broker)
	node.OnConnecting(connecting)
	node.OnConnect(func(*centrifuge.Client) {})
	check(node.Run())
	http.Handle("/sse", authorized([]byte(os.Args[3]), centrifuge.NewSSEHandler(node, centrifuge.SSEConfig{})))
	http.Handle("/publish", publish(node))
	check(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
}
