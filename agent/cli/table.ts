/** Left-aligned columns under a header; "(none)" for no rows. */
export function table(rows: readonly (readonly string[])[], header?: readonly string[]): string {
  if (rows.length === 0) return '(none)'
  const lines = header ? [header.map((title) => title.toUpperCase()), ...rows] : rows
  const widths = lines.reduce<number[]>((most, row) => row.map((cell, i) => Math.max(most[i] ?? 0, cell.length)), [])
  return lines
    .map((row) =>
      row
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}
