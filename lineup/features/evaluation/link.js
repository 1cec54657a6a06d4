// The link of an evaluation in a Space names no page: it opens this one.
if (new URLSearchParams(location.search).has("run")) location.replace(`evaluate${location.search}`);
