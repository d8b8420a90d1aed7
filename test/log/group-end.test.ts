import { expect, test } from 'vitest';
import { GroupEnd } from '../../src/log/group-end.ts';

test('a group ends once, and everybody hears the same end', async () => {
  for (const error of [undefined, new Error('first')]) {
    const end = new GroupEnd();
    const heard: unknown[] = [];
    const waiter = { done: () => heard.push('done'), failed: (cause: unknown) => heard.push(cause) };
    end.tell(waiter);
    end.tell(waiter);
    const before = end.promise;
    if (error === undefined) end.resolve();
    else end.reject(error);
    end.reject(new Error('second'));
    end.resolve();
    expect(heard).toEqual(error === undefined ? ['done', 'done'] : [error, error]);
    // Also for whoever asks when it is over.
    for (const promise of [before, end.promise]) {
      expect(
        await promise.then(
          () => 'done',
          (cause: unknown) => cause,
        ),
      ).toBe(error ?? 'done');
    }
  }
});
