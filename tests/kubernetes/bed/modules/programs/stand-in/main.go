// SPDX-License-Identifier: Apache-2.0

// Command stand-in answers on TCP ports in place of programs that Debian does not have.
//
// usage: stand-in two-ports | stand-in PORT...
//
// A port answers HTTP requests with one line and sends anything else back. "two-ports" is the application of the
// recipe that opens one port of two: a greeting on 8000, metrics on 5000/metrics, always those of the recipe.
package main

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
)

func main() {
	arguments := os.Args[1:]
	if len(arguments) == 1 && arguments[0] == "two-ports" {
		twoPorts()
	}
	for _, port := range arguments {
		listener, err := net.Listen("tcp", ":"+port)
		if err != nil {
			log.Fatal(err)
		}
		go answer(listener, port)
	}
	select {}
}

func twoPorts() {
	greeting := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "Hello from HTTP server.")
	})
	metrics := http.NewServeMux()
	metrics.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "http.requests=3\ngo.goroutines=5\ngo.cpus=4\n")
	})
	go func() { log.Fatal(http.ListenAndServe(":5000", metrics)) }()
	log.Fatal(http.ListenAndServe(":8000", greeting))
}

func answer(listener net.Listener, port string) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go converse(connection, port)
	}
}

func converse(connection net.Conn, port string) {
	defer connection.Close()
	reader := bufio.NewReader(connection)
	start, err := reader.Peek(4)
	if err != nil || !strings.Contains("GET HEADPOSTPUT ", string(start)) {
		io.Copy(connection, reader)
		return
	}
	request, err := http.ReadRequest(reader)
	if err != nil {
		return
	}
	host, _ := os.Hostname()
	body := fmt.Sprintf("pod %s, port %s\n", host, port)
	fmt.Fprintf(connection, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n", len(body))
	if request.Method != http.MethodHead {
		io.WriteString(connection, body)
	}
}
