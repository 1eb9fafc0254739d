using Kms.Client.Protocol;
using Kmsd.Access;

namespace Kmsd.Keys;

/// <summary>Gives a key another name or memo: <c>keys.update</c>.</summary>
internal sealed class UpdateKey(CatalogueLedger catalogue, ChangeKey change)
{
    public async Task<KeyDescription> RunAsync(Caller caller, UpdateKeyRequest request, CancellationToken cancellationToken)
    {
        if (request.Name is string name)
        {
            KeyText.CheckName(name);
        }

        KeyText.CheckMemo(request.Memo);
        Key key = await change.RunAsync(caller, request.Key, "keys.update", (key, _) => Decide(key, request), cancellationToken);
        return change.Describe(key, caller);
    }

    private (Key Key, long? Version, string? Detail) Decide(Key key, UpdateKeyRequest request)
    {
        string name = request.Name ?? key.Name;
        string memo = request.Memo ?? key.Memo;
        if (name == key.Name && memo == key.Memo)
        {
            return (key, null, null);
        }

        KeyStore store = catalogue.Staged.Stores[key.StoreId];
        if (store.Names.TryGetValue(name, out KeyTag holder) && holder != key.Tag)
        {
            throw KeyText.NameInUse(name, store);
        }

        return (key with { Name = name, Memo = memo }, null, name == key.Name ? "memo" : $"name {key.Name} → {name}");
    }
}

/// <summary>Rules of the texts that a key carries.</summary>
internal static class KeyText
{
    /// <exception cref="KmsException"><c>invalidParams</c></exception>
    public static void CheckName(string name)
    {
        if (!ResourceName.IsValid(name))
        {
            throw new KmsException(KmsErrorCode.InvalidParams, $"A key's name is {ResourceName.Rule}.");
        }
    }

    /// <exception cref="KmsException"><c>invalidParams</c></exception>
    public static void CheckMemo(string? memo)
    {
        if (memo is not null && (memo.Count(unit => !char.IsLowSurrogate(unit)) > Limits.MemoCharacters || memo.Any(char.IsControl)))
        {
            throw new KmsException(
                KmsErrorCode.InvalidParams, $"A memo is at most {Limits.MemoCharacters} characters, without control characters.");
        }
    }

    /// <exception cref="KmsException"><c>invalidParams</c></exception>
    public static void CheckPeriod(int? days)
    {
        if (days is < 1 or > Limits.RotationPeriodDays)
        {
            throw new KmsException(KmsErrorCode.InvalidParams, $"A rotation period is 1 to {Limits.RotationPeriodDays} days.");
        }
    }

    public static KmsException NameInUse(string name, KeyStore store) => new(
        KmsErrorCode.AlreadyExists, $"There is a key of the name '{name}' in '{store.Name}' already.");
}
