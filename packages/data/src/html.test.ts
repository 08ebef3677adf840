import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { htmlToText } from "./html.ts";

describe("HTML as text", () => {
  it.each([
    ["", ""],
    ["plain", "plain"],
    ["<p>one\n two</p>\n\n<p>three</p>", "one two\n\nthree"],
    ["a<br>b<br/>c", "a\nb\nc"],
    ["<b>bold</b> and <i>it</i>alic", "bold and italic"],
    ["<ul>\n<li>one</li>\n<li><p>two</p></li>\n</ul><p>end</p>", "- one\n- two\n\nend"],
    ["<pre><code>if a &lt; b:\n    c\n</code></pre><p>x</p>", "```\nif a < b:\n    c\n```\n\nx"],
    ["say <code>ls -l</code>.", "say `ls -l`."],
    ["<blockquote>\n<p>q1</p>\n<p>q2</p>\n</blockquote><p>a</p>", "> q1\n>\n> q2\n\na"],
    ["<p>a</p><blockquote>q</blockquote>", "a\n\n> q"],
    ["<blockquote><blockquote>deep</blockquote>less</blockquote>", "> > deep\n>\n> less"],
    ['see <a href="https://x.org/a?b=1&amp;c=2" rel="nofollow">this</a> now', "see this (https://x.org/a?b=1&c=2) now"],
    ['<a href="https://x.org/">https://x.org/</a>', "https://x.org/"],
    ['<a href="javascript:alert(1)">click</a>', "click"],
    ["<a href='/users/1'>@bob</a>", "@bob"],
    ['<img src="x.png" alt="a chart">', "a chart"],
    ["a<script>alert('<p>')</script>b<style>p{}</style>c", "abc"],
    ["a<!-- <p>hidden</p> -->b", "ab"],
    [
      "&amp;lt; &#65;&#x42; &nbsp;&copy; &unknown; &constructor; &#xd800; &#0; &#x110000;",
      "&lt; AB © &unknown; &constructor; &#xd800; &#0; &#x110000;",
    ],
    ["1 < 2 and 3 > 2 <", "1 < 2 and 3 > 2 <"],
    ['<p title="a > b">x</p>', "x"],
    ["<p unclosed", "<p unclosed"],
    ["</p></ul></blockquote></pre></a></li>text", "text"],
    ["<pre>open", "```\nopen\n```"],
  ])("%j", (html, text) => {
    expect(htmlToText(html)).toBe(text);
  });

  it("keeps every word of any soup of tags that hides none, and adds no tag", () => {
    const soup = fc
      .array(
        fc.constantFrom(
          ..."<p> </p> <ul> <li> </li> <pre> </pre> <code> </code> <a> </a> <b> <td> <br> word < &".split(" "),
          "<blockquote>",
          "</blockquote>",
        ),
      )
      .map((parts) => parts.join(" "));
    fc.assert(
      fc.property(soup, (html) => {
        const text = htmlToText(html);
        expect(text.match(/word/g)?.length ?? 0).toBe(html.match(/word/g)?.length ?? 0);
        expect(text).not.toMatch(/<[a-z/]/);
      }),
    );
  });

  it("takes time in proportion to the length, whatever the input", () => {
    const length = 300_000;
    const started = performance.now();
    for (const unit of [
      "<",
      "<a ",
      '<a b="',
      "<a href='",
      "&",
      "&amp",
      "<!--",
      "</",
      "<pre>\n",
      "<blockquote>x",
      "<li><p>",
      "<script>",
      " \n",
    ])
      htmlToText(unit.repeat(Math.ceil(length / unit.length)));
    // Each takes some ten milliseconds; anything quadratic takes minutes.
    expect(performance.now() - started).toBeLessThan(10_000);
  });
});
