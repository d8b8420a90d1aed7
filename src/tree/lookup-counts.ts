/** What lookups in the tables of a tree have cost, since it was opened. */
export class LookupCounts {
  /** Lookups that memory did not answer. */
  lookups = 0;
  /** Filters of tables asked: at most one for each sorted run. */
  filters = 0;
  /** Tables searched because their filter said maybe. */
  tables = 0;
  /** Lookups that went to the block they had found before; in no other count. */
  remembered = 0;

  add(filters: number, tables: number): void {
    this.lookups++;
    this.filters += filters;
    this.tables += tables;
  }
}
