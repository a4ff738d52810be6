import { hexDecode, hexEncode } from "@sealwright/formats/bytes"
import { checkNesting, contextTag, DerReader, integerOf, TAG } from "@sealwright/formats/der"
import {
  bitString,
  boolean,
  der,
  derHeader,
  explicit,
  generalizedTime,
  ia5String,
  implicit,
  integer,
  namedBits,
  octetString,
  oid,
  printableString,
  sequence,
  set,
  time,
  utf8String,
} from "@sealwright/formats/der-write"
import { describe, expect, test } from "vitest"

const malformed = expect.objectContaining({ code: "DER_MALFORMED" })
const read = (hex: string) => new DerReader(hexDecode(hex))

describe("what is not DER is refused", () => {
  test.each<[string, string, (reader: DerReader) => unknown]>([
    ["a length that fits one byte in two", "04810100", (r) => r.octets()],
    ["a length with a leading zero", `04820080${"00".repeat(128)}`, (r) => r.octets()],
    ["an indefinite length", "30800000", (r) => r.enter(TAG.SEQUENCE)],
    ["a length of five bytes", "04850000000001ff", (r) => r.octets()],
    ["a length beyond the end", "0405ffff", (r) => r.octets()],
    ["a length that is cut off", "0482", (r) => r.octets()],
    ["a tag alone", "04", (r) => r.octets()],
    ["nothing at all", "", (r) => r.octets()],
    ["a tag number above 30", "1f8101", (r) => r.next()],
    ["another tag", "0500", (r) => r.octets()],
    ["a constructed OCTET STRING", "24030401ff", (r) => r.octets()],
    ["bytes after the element", "050000", (r) => [r.null(), r.finish()]],
    ["BOOLEAN 01", "010101", (r) => r.boolean()],
    ["BOOLEAN of two bytes", "0102ffff", (r) => r.boolean()],
    ["BOOLEAN of none", "0100", (r) => r.boolean()],
    ["NULL with content", "050100", (r) => r.null()],
    ["INTEGER without content", "0200", (r) => r.integer()],
    ["INTEGER padded with 00", "0202007f", (r) => r.integer()],
    ["INTEGER padded with FF", "0202ff80", (r) => r.integer()],
    ["a small integer below zero", "0201ff", (r) => r.smallInteger()],
    ["a small integer of five bytes", "02050100000000", (r) => r.smallInteger()],
    ["BIT STRING without content", "0300", (r) => r.bits()],
    ["BIT STRING with 8 unused bits", "03020800", (r) => r.bits()],
    ["BIT STRING with unused bits of nothing", "030101", (r) => r.bits()],
    ["BIT STRING with a stray bit", "03020401", (r) => r.bits()],
    ["BIT STRING not of whole bytes", "03020480", (r) => r.wholeBits()],
    ["an empty OID", "0600", (r) => r.oid()],
    ["an OID with a padded arc", "06032a8001", (r) => r.oid()],
    ["an OID that is cut off", "06022a86", (r) => r.oid()],
    ["an OID above 64 bytes", `0641${"01".repeat(65)}`, (r) => r.oid()],
    ["invalid UTF-8", "0c02c328", (r) => r.text()],
    ["a PrintableString with @", "130140", (r) => r.text()],
    ["an IA5String outside ASCII", "160180", (r) => r.text()],
    ["a TeletexString", "140141", (r) => r.text()],
    ["UTCTime without seconds", "170b323631313231303330305a", (r) => r.time()],
    ["UTCTime with an offset", "17113236313132313033303030302b30313030", (r) => r.time()],
    ["GeneralizedTime before 2050", "180f32303236313132313033303030305a", (r) => r.time()],
    ["a fraction of a second", "181132303530313132313033303030302e355a", (r) => r.time()],
    ["30 February", "170d3236303233303030303030305a", (r) => r.time()],
    ["second 60", "170d3236303232383030303036305a", (r) => r.time()],
    ["hour 24", "170d3236303232383234303030305a", (r) => r.time()],
    ["a time that is not digits", "170d323630323238302a303030305a", (r) => r.time()],
  ])("%s", (_, hex, act) => {
    expect(() => act(read(hex))).toThrow(malformed)
  })

  test("100,000 nested SEQUENCEs end in a refusal, not in a stack overflow", () => {
    const headers: Uint8Array[] = []
    for (let i = 0, length = 0; i < 100_000; i++) {
      const header = derHeader(TAG.SEQUENCE, length)
      headers.push(header)
      length += header.length
    }
    const nested = Buffer.concat(headers.reverse())
    expect(() => checkNesting(nested, 100)).toThrow(expect.objectContaining({ code: "TOO_LARGE" }))
    expect(() => checkNesting(nested, 100_001)).not.toThrow()
  })

  test("nesting is checked down to the last element", () => {
    expect(() => checkNesting(hexDecode("3006300405000500"), 2)).not.toThrow()
    expect(() => checkNesting(hexDecode("300630040500"), 2)).toThrow(malformed)
    expect(() => checkNesting(hexDecode("3006300405000501"), 2)).toThrow(malformed)
    expect(() => checkNesting(hexDecode("30003000"), 2)).toThrow(malformed)
  })
})

describe("values", () => {
  test.each([
    ["0.0", "060100"],
    ["0.39", "060127"],
    ["1.0", "060128"],
    ["1.39", "06014f"],
    ["2.0", "060150"],
    ["2.39", "060177"],
    ["2.40", "060178"],
    ["2.48", "06028100"],
    ["2.999", "06028837"],
    ["1.2.840.113549.1.1.10", "06092a864886f70d01010a"],
    ["2.5.29.15", "0603551d0f"],
    ["1.3.6.1.4.1.57264.1.8", "060a2b0601040183bf300108"],
  ])("OID %s", (dotted, hex) => {
    expect(hexEncode(oid(dotted))).toBe(hex)
    expect(read(hex).oid()).toBe(dotted)
  })

  test.each(["2.25.329800735698586629295641978511506172918", "1.2.9007199254740993", "2.9007199254741073.1"])(
    "OID arcs beyond a double stay exact: %s",
    (dotted) => {
      expect(new DerReader(oid(dotted)).oid()).toBe(dotted)
    },
  )

  test.each(["3.1", "1.40", "1", "1.2.", "1.02", "a", ""])("no OID: %j", (dotted) => {
    expect(() => oid(dotted)).toThrow(malformed)
  })

  test.each([
    [0n, "020100"],
    [127n, "02017f"],
    [128n, "02020080"],
    [256n, "02020100"],
    [-1n, "0201ff"],
    [-128n, "020180"],
    [-129n, "0202ff7f"],
    [2n ** 159n - 1n, `0214${"7f".padEnd(40, "f")}`],
    [-(2n ** 64n), "0209ff0000000000000000"],
  ])("INTEGER %s", (value, hex) => {
    expect(hexEncode(integer(value))).toBe(hex)
    expect(read(hex).integer()).toBe(value)
  })

  test("an INTEGER from magnitude bytes is positive and minimal", () => {
    expect(hexEncode(integer(hexDecode("0000ff")))).toBe("020200ff")
    expect(hexEncode(integer(hexDecode("00")))).toBe("020100")
    expect(hexEncode(integer(new Uint8Array(0)))).toBe("020100")
    expect(integerOf(hexDecode("00ffffffffffffffffff"))).toBe(2n ** 72n - 1n)
  })

  test.each([
    [127, "047f"],
    [128, "048180"],
    [255, "0481ff"],
    [256, "04820100"],
    [65535, "0482ffff"],
    [65536, "0483010000"],
    [2 ** 24, "048401000000"],
  ])("length %i", (length, hex) => {
    expect(hexEncode(derHeader(TAG.OCTET_STRING, length))).toBe(hex)
  })

  test.each([
    ["2026-11-21T03:00:00Z", "170d3236313132313033303030305a"],
    ["1950-01-01T00:00:00Z", "170d3530303130313030303030305a"],
    ["2049-12-31T23:59:59Z", "170d3439313233313233353935395a"],
    ["2050-01-01T00:00:00Z", "180f32303530303130313030303030305a"],
    ["9999-12-31T23:59:59Z", "180f39393939313233313233353935395a"],
  ])("time %s", (text, hex) => {
    expect(hexEncode(time(new Date(text)))).toBe(hex)
    expect(read(hex).time()).toEqual(new Date(text))
  })

  test("times are cut to the second, and years beyond four digits refused", () => {
    expect(hexEncode(time(new Date("2026-11-21T03:00:00.999Z")))).toBe("170d3236313132313033303030305a")
    expect(new DerReader(generalizedTime(new Date("2026-11-21T03:00:00Z"))).generalizedTime()).toEqual(
      new Date("2026-11-21T03:00:00Z"),
    )
    expect(() => time(new Date(253402300800000))).toThrow(malformed)
    expect(() => time(new Date(Number.NaN))).toThrow(malformed)
  })

  test("named bits lose their trailing zeros", () => {
    expect(hexEncode(namedBits([0]))).toBe("03020780")
    expect(hexEncode(namedBits([5, 6]))).toBe("03020106")
    expect(hexEncode(namedBits([8]))).toBe("0303070080")
    expect(hexEncode(namedBits([]))).toBe("030100")
  })

  test("SET OF is sorted, SEQUENCE is not", () => {
    const [a, b] = [octetString(hexDecode("02")), octetString(hexDecode("01"))]
    expect(hexEncode(set(a, b))).toBe("3106040101040102")
    expect(hexEncode(sequence(a, b))).toBe("3006040102040101")
  })

  test("strings, tags, booleans", () => {
    expect(new DerReader(utf8String("Zürich")).text()).toBe("Zürich")
    expect(new DerReader(printableString("DE")).text()).toBe("DE")
    expect(new DerReader(ia5String("a@b")).text()).toBe("a@b")
    expect(() => printableString("a@b")).toThrow(malformed)
    expect(() => ia5String("ü")).toThrow(malformed)
    expect(hexEncode(boolean(true))).toBe("0101ff")
    expect(new DerReader(boolean(false)).boolean()).toBe(false)
    expect(hexEncode(explicit(3, boolean(true)))).toBe("a3030101ff")
    expect(new DerReader(implicit(6, hexDecode("61"))).ascii(contextTag(6))).toBe("a")
    expect(hexEncode(new DerReader(bitString(hexDecode("ff"))).wholeBits())).toBe("ff")
    expect(hexEncode(der(TAG.ENUMERATED, hexDecode("01")))).toBe("0a0101")
  })
})
