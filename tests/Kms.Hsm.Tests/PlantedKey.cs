using Kms.Hsm.Native;
using Net.Pkcs11Interop.Common;

namespace Kms.Hsm.Tests;

public enum RootRole
{
    None = 0,
    Wrap = 1,
    Seal = 2,
    Mac = 3,
}

/// <summary>A key that somebody with the PIN puts into the token beside, or in place of, a key of a root generation.</summary>
internal sealed class PlantedKey : IDisposable
{
    private readonly Token _token;
    private readonly ulong _handle;

    private PlantedKey(Token token, ulong handle)
    {
        _token = token;
        _handle = handle;
    }

    public static PlantedKey InPlaceOf(
        Token token, RootGenerationDescriptor descriptor, RootRole role, byte[] value, CKA? wrong = null)
    {
        (byte[] label, ulong original) = Original(token, descriptor, role);
        TokenSessions.Change(token, (module, session) =>
        {
            module.DestroyObject(session, original);
            return true;
        });
        return Make(token, descriptor, role, label, value, wrong);
    }

    public static PlantedKey Beside(Token token, RootGenerationDescriptor descriptor, RootRole role, byte[] value) =>
        Make(token, descriptor, role, Original(token, descriptor, role).Label, value, null);

    public static byte[] IdOf(RootGenerationDescriptor descriptor, RootRole role) => role switch
    {
        RootRole.Wrap => descriptor.WrapKeyId,
        RootRole.Seal => descriptor.SealKeyId,
        _ => descriptor.MacKeyId,
    };

    public static CKA[] UsesOf(RootRole role) => role switch
    {
        RootRole.Wrap => [CKA.CKA_WRAP, CKA.CKA_UNWRAP],
        RootRole.Seal => [CKA.CKA_ENCRYPT, CKA.CKA_DECRYPT],
        _ => [CKA.CKA_SIGN, CKA.CKA_VERIFY],
    };

    public static ulong Find(Token token, byte[] id) => token.Operate(session =>
    {
        using Template template = new();
        return token.Module.Find(session, template.Add(CKA.CKA_ID, id)).Single();
    });

    public void Dispose() => TokenSessions.Change(_token, (module, session) =>
    {
        module.DestroyObject(session, _handle);
        return true;
    });

    private static (byte[] Label, ulong Handle) Original(Token token, RootGenerationDescriptor descriptor, RootRole role)
    {
        ulong handle = Find(token, IdOf(descriptor, role));
        return (token.Operate(session => token.Module.Attribute(session, handle, CKA.CKA_LABEL)!), handle);
    }

    /// <summary>As the generation's own would be, except for its value and one attribute.</summary>
    private static PlantedKey Make(
        Token token, RootGenerationDescriptor descriptor, RootRole role, byte[] label, byte[] value, CKA? wrong)
    {
        using Template template = new();
        _ = template.Add(CKA.CKA_CLASS, CKO.CKO_SECRET_KEY)
            .Add(CKA.CKA_KEY_TYPE, role == RootRole.Mac ? CKK.CKK_GENERIC_SECRET : CKK.CKK_AES)
            .Add(CKA.CKA_TOKEN, true).Add(CKA.CKA_LABEL, label).Add(CKA.CKA_ID, IdOf(descriptor, role)).Add(CKA.CKA_VALUE, value);
        CKA[] uses = UsesOf(role);
        CKA[] on = [CKA.CKA_PRIVATE, CKA.CKA_SENSITIVE, .. uses];
        CKA[] off =
        [
            CKA.CKA_EXTRACTABLE, CKA.CKA_MODIFIABLE, CKA.CKA_COPYABLE,
            .. new[] { CKA.CKA_WRAP, CKA.CKA_UNWRAP, CKA.CKA_ENCRYPT, CKA.CKA_DECRYPT, CKA.CKA_SIGN, CKA.CKA_VERIFY, CKA.CKA_DERIVE }
                .Except(uses),
        ];
        foreach (CKA attribute in on)
        {
            _ = template.Add(attribute, attribute != wrong);
        }

        foreach (CKA attribute in off)
        {
            _ = template.Add(attribute, attribute == wrong);
        }

        return new PlantedKey(token, TokenSessions.Change(token, (module, session) => module.CreateObject(session, template)));
    }
}
