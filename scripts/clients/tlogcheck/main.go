// Command tlogcheck checks a log with the packages by which the go command checks Go's own checksum database, and none of the
// service's code: signatures by golang.org/x/mod/sumdb/note, trees by golang.org/x/mod/sumdb/tlog.
//
//	tlogcheck tree BASE KEY               every entry and tile of the log at BASE, an http address or a folder
//	tlogcheck record PROOF ENTRY KEY      a C2SP tlog-proof file, and the bytes of the entry that it is for
//	tlogcheck growth CHECKPOINT REQUEST KEY  that the tree of a C2SP tlog-witness request continues the one of an earlier checkpoint
//
// KEY is a file with the log's verifier key. Exit 0 with a line that says what was checked; 1 when it is refused; 2 when called wrongly.
package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	tileHeight = 8       // C2SP tlog-tiles: 256 hashes
	maxFile    = 1 << 25 // a bundle of 256 entries of 65,535 bytes is 16 MiB
)

func main() {
	check := map[string]func([]string) (string, error){"tree": tree, "record": record, "growth": growth}
	wanted := map[string]int{"tree": 2, "record": 3, "growth": 3}
	args := os.Args[1:]
	if len(args) == 0 || check[args[0]] == nil || len(args)-1 != wanted[args[0]] {
		fmt.Fprintln(os.Stderr, "usage: tlogcheck tree BASE KEY | record PROOF ENTRY KEY | growth CHECKPOINT REQUEST KEY")
		os.Exit(2)
	}
	said, err := check[args[0]](args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "tlogcheck: refused:", err)
		os.Exit(1)
	}
	fmt.Println("tlogcheck:", said)
}

// openCheckpoint verifies the note under the key in keyFile, whose name must be the origin, and reads the tree it names.
func openCheckpoint(signed []byte, keyFile string) (tlog.Tree, error) {
	key, err := os.ReadFile(keyFile)
	if err != nil {
		return tlog.Tree{}, err
	}
	verifier, err := note.NewVerifier(strings.TrimSpace(string(key)))
	if err != nil {
		return tlog.Tree{}, err
	}
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	origin, rest, _ := strings.Cut(opened.Text, "\n")
	if origin != verifier.Name() {
		return tlog.Tree{}, fmt.Errorf("a checkpoint of %q under the key of %q", origin, verifier.Name())
	}
	// Go's checksum database has a fixed first line where others have their origin; what follows is the same.
	return tlog.ParseTree([]byte("go.sum database tree\n" + rest))
}

// source reads a log's files by their path: from a web server, or from a folder.
type source string

func (base source) read(path string) ([]byte, error) {
	if !strings.HasPrefix(string(base), "http") {
		return os.ReadFile(filepath.Join(string(base), filepath.FromSlash(path)))
	}
	client := http.Client{Timeout: 30 * time.Second}
	response, err := client.Get(strings.TrimSuffix(string(base), "/") + "/" + path)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", path, response.Status)
	}
	return io.ReadAll(io.LimitReader(response.Body, maxFile))
}

// tilePath is C2SP's path of a tile, which leaves out Go's height, and says entries where Go says data.
func tilePath(tile tlog.Tile) string {
	path := strings.Replace(tile.Path(), fmt.Sprintf("tile/%d/", tile.H), "tile/", 1)
	return strings.Replace(path, "tile/data/", "tile/entries/", 1)
}

func (base source) Height() int { return tileHeight }

func (base source) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		data, err := base.read(tilePath(tile))
		if err != nil {
			return nil, err
		}
		if len(data) != tile.W*tlog.HashSize {
			return nil, fmt.Errorf("%s: %d bytes for %d hashes", tilePath(tile), len(data), tile.W)
		}
		all = append(all, data)
	}
	return all, nil
}

func (base source) SaveTiles([]tlog.Tile, [][]byte) {}

// stored is a tree that is built from its records, in the order in which Go stores its hashes.
type stored []tlog.Hash

func (hashes stored) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var found []tlog.Hash
	for _, index := range indexes {
		if index >= int64(len(hashes)) {
			return nil, fmt.Errorf("hash %d of %d", index, len(hashes))
		}
		found = append(found, hashes[index])
	}
	return found, nil
}

// entries splits a bundle: each entry stands behind its length of two bytes.
func entries(bundle []byte, count int) ([][]byte, error) {
	var all [][]byte
	for len(bundle) > 0 {
		if len(bundle) < 2 || len(bundle)-2 < int(binary.BigEndian.Uint16(bundle)) {
			return nil, fmt.Errorf("an entry is cut off")
		}
		length := int(binary.BigEndian.Uint16(bundle))
		all = append(all, bundle[2:2+length])
		bundle = bundle[2+length:]
	}
	if len(all) != count {
		return nil, fmt.Errorf("%d entries of %d", len(all), count)
	}
	return all, nil
}

// tree builds the log anew from its entries and compares root and tiles; then it asks the tiles alone for a proof of each entry and
// of each earlier tree, as a client would that has no entries, and checks those.
func tree(args []string) (string, error) {
	base, keyFile := source(args[0]), args[1]
	signed, err := base.read("checkpoint")
	if err != nil {
		return "", err
	}
	head, err := openCheckpoint(signed, keyFile)
	if err != nil {
		return "", err
	}
	var built stored
	var records []tlog.Hash
	tiles := tlog.NewTiles(tileHeight, 0, head.N)
	for _, tile := range tiles {
		if tile.L != 0 {
			continue
		}
		bundle, err := base.read(tilePath(tlog.Tile{H: tile.H, L: -1, N: tile.N, W: tile.W}))
		if err != nil {
			return "", err
		}
		split, err := entries(bundle, tile.W)
		if err != nil {
			return "", fmt.Errorf("bundle %d: %w", tile.N, err)
		}
		for _, entry := range split {
			added, err := tlog.StoredHashes(int64(len(records)), entry, built)
			if err != nil {
				return "", err
			}
			built = append(built, added...)
			records = append(records, tlog.RecordHash(entry))
		}
	}
	if int64(len(records)) != head.N {
		return "", fmt.Errorf("%d entries for a tree of %d", len(records), head.N)
	}
	root, err := tlog.TreeHash(head.N, built)
	if err != nil {
		return "", err
	}
	if root != head.Hash {
		return "", fmt.Errorf("the entries have the root %v, the checkpoint %v", root, head.Hash)
	}
	for _, tile := range tiles {
		right, err := tlog.ReadTileData(tile, built)
		if err != nil {
			return "", err
		}
		served, err := base.ReadTiles([]tlog.Tile{tile})
		if err != nil {
			return "", err
		}
		if !bytes.Equal(served[0], right) {
			return "", fmt.Errorf("%s has other hashes than its entries", tilePath(tile))
		}
	}
	if err := prove(head, records, built, &kept{base, map[string][]byte{}}); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d entries, %d tiles, one tree", head.N, len(tiles)), nil
}

// kept asks for each tile once.
type kept struct {
	source
	tiles map[string][]byte
}

func (cache *kept) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		path := tilePath(tile)
		if cache.tiles[path] == nil {
			data, err := cache.source.ReadTiles([]tlog.Tile{tile})
			if err != nil {
				return nil, err
			}
			cache.tiles[path] = data[0]
		}
		all = append(all, cache.tiles[path])
	}
	return all, nil
}

func prove(head tlog.Tree, records []tlog.Hash, built stored, tiles tlog.TileReader) error {
	reader := tlog.TileHashReader(head, tiles)
	for index, hash := range records {
		proof, err := tlog.ProveRecord(head.N, int64(index), reader)
		if err != nil {
			return err
		}
		if err := tlog.CheckRecord(proof, head.N, head.Hash, int64(index), hash); err != nil {
			return fmt.Errorf("entry %d: %w", index, err)
		}
	}
	for size := int64(1); size <= head.N; size++ {
		earlier, err := tlog.TreeHash(size, built)
		if err != nil {
			return err
		}
		proof, err := tlog.ProveTree(head.N, size, reader)
		if err != nil {
			return err
		}
		if err := tlog.CheckTree(proof, head.N, head.Hash, size, earlier); err != nil {
			return fmt.Errorf("tree of %d: %w", size, err)
		}
	}
	return nil
}

// proofAndCheckpoint splits lines, the first ones given by name, then hashes, then an empty line, from the checkpoint behind them.
func proofAndCheckpoint(file string, names ...string) (fields []string, hashes []tlog.Hash, signed []byte, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, nil, err
	}
	before, signed, found := bytes.Cut(text, []byte("\n\n"))
	lines := strings.Split(string(before), "\n")
	if !found || len(lines) < len(names) {
		return nil, nil, nil, fmt.Errorf("%s: no checkpoint behind an empty line", file)
	}
	for i, name := range names {
		field, ok := strings.CutPrefix(lines[i], name)
		if !ok {
			return nil, nil, nil, fmt.Errorf("%s: line %d does not begin with %q", file, i+1, name)
		}
		fields = append(fields, field)
	}
	for _, line := range lines[len(names):] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return nil, nil, nil, err
		}
		hashes = append(hashes, hash)
	}
	return fields, hashes, signed, nil
}

func record(args []string) (string, error) {
	fields, proof, signed, err := proofAndCheckpoint(args[0], "c2sp.org/tlog-proof@v1", "index ")
	if err != nil {
		return "", err
	}
	index, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return "", err
	}
	entry, err := os.ReadFile(args[1])
	if err != nil {
		return "", err
	}
	head, err := openCheckpoint(signed, args[2])
	if err != nil {
		return "", err
	}
	if err := tlog.CheckRecord(tlog.RecordProof(proof), head.N, head.Hash, index, tlog.RecordHash(entry)); err != nil {
		return "", err
	}
	return fmt.Sprintf("entry %d of %d", index, head.N), nil
}

func growth(args []string) (string, error) {
	earlier, err := os.ReadFile(args[0])
	if err != nil {
		return "", err
	}
	from, err := openCheckpoint(earlier, args[2])
	if err != nil {
		return "", err
	}
	fields, proof, signed, err := proofAndCheckpoint(args[1], "old ")
	if err != nil {
		return "", err
	}
	if fields[0] != strconv.FormatInt(from.N, 10) {
		return "", fmt.Errorf("a proof from %s, and a checkpoint of %d", fields[0], from.N)
	}
	to, err := openCheckpoint(signed, args[2])
	if err != nil {
		return "", err
	}
	if err := tlog.CheckTree(tlog.TreeProof(proof), to.N, to.Hash, from.N, from.Hash); err != nil {
		return "", err
	}
	return fmt.Sprintf("from %d to %d", from.N, to.N), nil
}
